package main

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/internal/testenv"
)

// server is a back-end in a process of its own, which is killed and started again.
type server struct {
	*netHost
	args   []string
	socket string
	cmd    *exec.Cmd
	said   lockedBuffer
}

func (h *netHost) vhostUser(device string, args ...string) *server {
	h.t.Helper()
	s := &server{netHost: h, socket: filepath.Join(h.t.TempDir(), device+".sock")}
	s.args = append([]string{"vhost-user", device, "--socket", s.socket}, args...)
	s.run()
	h.t.Cleanup(s.kill)
	eventually(h.t, "the back-end to listen", func() bool {
		info, err := os.Stat(s.socket)
		return err == nil && info.Mode().Type() == os.ModeSocket
	})
	return s
}

func (s *server) run() {
	s.cmd = s.command(s.args...)
	s.cmd.Stderr = &s.said
	s.start(s.cmd)
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// again kills it, and starts another on the same socket.
func (s *server) again() {
	s.kill()
	s.run()
}

// TestVhostUserKilled kills the back-ends of a guest's card and of its disk while they move data, and starts them again.
// The guest notices nothing but that it takes a while.
func TestVhostUserKilled(t *testing.T) {
	needGuests(t)
	h := newNetHost(t)
	h.tap("192.0.2.1/24", 1)
	image := filepath.Join(t.TempDir(), "disk.img")
	content, _ := randomBytes(8 << 20)
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	card, disk := h.vhostUser("net", "--tap", testTap), h.vhostUser("blk", "--file", image)
	data, digest := randomBytes(transfer)
	kills := make(chan struct{}, 3)
	h.serve("192.0.2.1:8000", data, func(left int) {
		if left == len(data)*3/4 || left == len(data)/2 || left == len(data)/4 {
			kills <- struct{}{}
		}
	})
	g := h.boot("patient", "--net", "datapath=vhost-user:"+card.socket+",address=192.0.2.2/24,gateway=192.0.2.1",
		"--vhost-user", "blk,socket="+disk.socket)
	g.tell("wget -qO- http://192.0.2.1:8000/ | md5sum")
	for range cap(kills) {
		<-kills
		card.again()
	}
	if text, status := g.answer(); status != "0" || text != digest+"  -\n" {
		t.Errorf("the guest got %q, status %s, want %s; the back-end said %s", text, status, digest, card.said.String())
	}

	const half = 4 << 20
	g.tell("for i in 1 2 3; do dd if=/dev/vda of=/dev/vda bs=64k count=64 seek=64 conv=notrunc,fsync 2>/dev/null || echo failed; done")
	written := func(to int) bool { // the guest writes from the beginning of the second half on
		b := make([]byte, 4096)
		f, err := os.Open(image)
		h.must(err)
		defer f.Close()
		_, err = f.ReadAt(b, int64(half+to))
		h.must(err)
		return bytes.Equal(b, content[to:to+len(b)])
	}
	for _, to := range []int{64 << 10, 2 << 20} {
		eventually(t, "the guest to write", func() bool { return written(to) })
		disk.again()
	}
	if text, status := g.answer(); status != "0" || text != "" {
		t.Errorf("the copy: %q, status %s; the back-end said %s", text, status, disk.said.String())
	}
	copy(content[half:], content[:half])
	sum := md5.Sum(content)
	if got := g.do("echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/vda"); got != hex.EncodeToString(sum[:])+"  -" {
		t.Errorf("the disk's digest is %q, want %x", got, sum)
	}
	g.leave()
	if b, err := os.ReadFile(image); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the image is not as the guest wrote it (%v)", err)
	}
}

// TestVhostUserSocket sees that a socket is made, taken over from one that was killed, not from one that lives, and
// removed.
func TestVhostUserSocket(t *testing.T) {
	h := newNetHost(t)
	image := tempFile(t, "disk.img", strings.Repeat("\x00", 4096))
	s := h.vhostUser("blk", "--file", image, "--ro")
	if got := h.tandem(s.args...); got.status == 0 || !strings.Contains(got.stderr, "address already in use") {
		t.Errorf("a second one on the same socket: %+v", got)
	}
	s.again()
	eventually(t, "the second to listen", func() bool {
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	h.must(s.cmd.Process.Signal(os.Interrupt))
	_ = s.cmd.Wait()
	if _, err := os.Stat(s.socket); !os.IsNotExist(err) {
		t.Errorf("after its end: the socket is there (%v)", err)
	}
	s.run() // for the cleanup
	file := tempFile(t, "file", "of somebody's")
	if got := h.tandem("vhost-user", "blk", "--file", image, "--ro", "--socket", file); got.status == 0 {
		t.Errorf("on a file that is no socket: %+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "of somebody's" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	for _, args := range [][]string{
		{"net", "--tap", "gone"}, {"net"}, {"blk", "--file", filepath.Join(t.TempDir(), "gone")}, {"blk"},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		if got := h.tandem(append([]string{"vhost-user", args[0], "--socket", socket}, args[1:]...)...); got.status == 0 {
			t.Errorf("%q: %+v", args, got)
		}
		if _, err := os.Stat(socket); err == nil {
			t.Errorf("%q left its socket", args)
		}
	}
}

// qemuNetScript runs as pid 1. It moves data by the card both ways.
const qemuNetScript = `#!/bin/sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t sysfs sys /sys
busybox mount -t proc proc /proc
say() { echo "RESULT $*"; }
for m in MODULES; do busybox insmod $m || say cannot load $m; done
busybox ip link set lo up
busybox ip addr add 192.0.2.2/24 dev eth0
busybox ip link set eth0 up
say queues $(busybox ls /sys/class/net/eth0/queues | busybox grep -c rx)
busybox ping -c 1 -W 20 192.0.2.1 >/dev/null && say pinged
say got $(busybox wget -qO /data http://192.0.2.1:8000/ && busybox md5sum </data)
busybox httpd -p 80 -h /
say serving
while [ ! -e /tmp/over ]; do busybox nc -l -p 81 && > /tmp/over; done
busybox poweroff -f
`

// TestVhostUserNetQEMU has QEMU, with Linux in it, use a card of ours.
func TestVhostUserNetQEMU(t *testing.T) {
	testenv.Need(t, testenv.QEMU, testenv.GuestKernel, testenv.Busybox, testenv.NotLab)
	h := newNetHost(t)
	h.tap("192.0.2.1/24", 2)
	card := h.vhostUser("net", "--tap", testTap, "--queues", "2")
	data, digest := randomBytes(16 << 20)
	h.serve("192.0.2.1:8000", data, nil)
	kernel, initrd := qemuInitrd(t, qemuNetScript, "virtio_pci", "virtio_net")

	qemu := exec.Command("qemu-system-x86_64", "-M", "q35,memory-backend=mem", "-accel", "tcg", "-cpu", "max", "-smp", "2",
		"-m", "512", "-object", "memory-backend-memfd,id=mem,size=512M,share=on",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-chardev", "socket,id=back,path="+card.socket, "-netdev", "vhost-user,id=net,chardev=back,queues=2",
		// Without MSI-X: QEMU 7.2 without KVM ends with a segmentation fault when it unmasks a vector of a vhost card.
		"-device", "virtio-net-pci,netdev=net,mq=on,vectors=0,mac=52:54:00:12:34:56",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet")
	out, err := qemu.StdoutPipe()
	h.must(err)
	var stderr lockedBuffer
	qemu.Stderr = &stderr
	began := time.Now()
	h.start(qemu)
	t.Cleanup(func() {
		if qemu.ProcessState == nil {
			_ = qemu.Process.Kill()
			_ = qemu.Wait()
		}
	})
	timer := time.AfterFunc(4*time.Minute, func() { _ = qemu.Process.Kill() })
	defer timer.Stop()
	var got []string
	var console strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		console.WriteString(lines.Text() + "\n")
		_, result, ok := strings.Cut(lines.Text(), "RESULT ")
		if !ok {
			continue
		}
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), result)
		got = append(got, strings.Join(strings.Fields(result), " "))
		if strings.TrimSpace(result) != "serving" {
			continue
		}
		if n, sum, err := h.fetch("http://192.0.2.2/data"); sum != digest {
			t.Errorf("from the guest came %d bytes, %v, with digest %s, want %s", n, err, sum, digest)
		}
		eventually(t, "the guest to listen", func() bool {
			c, err := h.dial(t.Context(), "tcp", "192.0.2.2:81")
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	err = qemu.Wait()
	want := []string{"queues 2", "pinged", "got " + digest + " -", "serving"}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("in the guest: %q, want %q; %v; QEMU: %s; back-end: %s; console:\n%s", got, want, err, stderr.String(),
			card.said.String(), console.String())
	}
}

// qemuInitrd makes an initial RAM disk that runs a script, and gives the kernel.
func qemuInitrd(t *testing.T, script string, drivers ...string) (kernel, initrd string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open("")
	check(err)
	k, err := s.Get(store.GuestPackage)
	check(err)
	busybox, err := exec.LookPath("busybox")
	check(err)
	base, err := initramfs.Base{
		Init: busybox, ModulesDir: k.Modules, Cache: t.TempDir(),
		Sets: []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices},
	}.Build(t.Context())
	check(err)
	modules, err := base.Load(drivers...)
	check(err)
	script = strings.Replace(script, "MODULES", strings.Join(modules, " "), 1)
	overlay, err := initramfs.Overlay([]byte("{}"), initramfs.File{Name: "/init", Mode: 0o755, Data: []byte(script)})
	check(err)
	b, err := os.ReadFile(base.Path)
	check(err)
	initrd = filepath.Join(t.TempDir(), "initrd")
	check(os.WriteFile(initrd, append(b, overlay...), 0o600))
	return k.Image, initrd
}
