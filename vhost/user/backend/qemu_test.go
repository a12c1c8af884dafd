package backend

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"io"
	"math/rand/v2"
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
	"tandem/virtio/blk"
)

// The child of TestQEMU is the back-end: what it serves, and where.
const (
	childSocket = "TANDEM_BACKEND_SOCKET"
	childImage  = "TANDEM_BACKEND_IMAGE"
)

// serveChild is the back-end's process.
func serveChild(t *testing.T, socket string) {
	disk, err := blk.Open(blk.Spec{Path: os.Getenv(childImage), Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	s, err := New(disk, Options{Report: func(err error) { os.Stderr.WriteString(err.Error() + "\n") }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.Write([]byte{'\n'})
	if err := s.Serve(l); err != nil {
		t.Fatal(err)
	}
}

// spawn starts a back-end in a process of its own, and returns when it listens.
func spawn(t *testing.T, image, socket string, stderr io.Writer) *exec.Cmd {
	t.Helper()
	_ = os.Remove(socket)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestQEMU$", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), childSocket+"="+socket, childImage+"="+image)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("the back-end did not start: %v", err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

const (
	diskSize = 8 << 20
	half     = diskSize / 2
)

// script runs as pid 1. It reads the disk, copies its first half over its second
// one, many times while the back-end is killed, and reads again.
const script = `#!/bin/sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t sysfs sys /sys
say() { echo "RESULT $*"; }
for m in MODULES; do busybox insmod $m || say cannot load $m; done
while [ ! -b /dev/vda ]; do busybox sleep 0.1; done
say sectors $(busybox cat /sys/block/vda/size) queues $(busybox ls /sys/block/vda/mq | busybox wc -l)
say before $(busybox dd if=/dev/vda bs=64k 2>/dev/null | busybox md5sum)
say copying
for i in 1 2 3 4 5 6 7 8 9 10; do
	busybox dd if=/dev/vda of=/dev/vda bs=64k count=64 seek=64 conv=notrunc,fsync 2>/dev/null || say copy $i failed
	say copied $i
done
echo 3 > /proc/sys/vm/drop_caches 2>/dev/null
say after $(busybox dd if=/dev/vda bs=64k 2>/dev/null | busybox md5sum)
busybox poweroff -f
`

// bootDisk makes an initial RAM disk with drivers (MODULES in the script), which runs the script, and gives the kernel.
func bootDisk(t *testing.T, script string, drivers []string, files ...initramfs.File) (kernel, initrd string) {
	t.Helper()
	s, err := store.Open("")
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Get(store.GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	base, err := initramfs.Base{
		Init: busybox, ModulesDir: k.Modules, Cache: t.TempDir(),
		Sets: []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices},
	}.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	modules, err := base.Load(drivers...)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(script, "MODULES", strings.Join(modules, " "), 1)
	files = append(files, initramfs.File{Name: "/init", Mode: 0o755, Data: []byte(text)})
	overlay, err := initramfs.Overlay([]byte("{}"), files...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(base.Path)
	if err != nil {
		t.Fatal(err)
	}
	initrd = filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(initrd, append(b, overlay...), 0o600); err != nil {
		t.Fatal(err)
	}
	return k.Image, initrd
}

func digest(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// TestQEMU has QEMU, with Linux in it, use a disk of ours. The back-end is killed
// three times while the guest writes.
func TestQEMU(t *testing.T) {
	if socket := os.Getenv(childSocket); socket != "" {
		serveChild(t, socket)
		return
	}
	testenv.Need(t, testenv.QEMU, testenv.GuestKernel, testenv.Busybox, testenv.NotLab)
	dir := t.TempDir()
	image, socket := filepath.Join(dir, "disk"), filepath.Join(dir, "s")
	content := make([]byte, diskSize)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	kernel, initrd := bootDisk(t, script, []string{"virtio_pci", "virtio_blk"})
	var reports bytes.Buffer
	server := spawn(t, image, socket, &reports)
	defer func() { kill(t, server) }()

	qemu := exec.Command("qemu-system-x86_64", "-M", "q35,memory-backend=mem", "-accel", "tcg", "-cpu", "max", "-smp", "2",
		"-m", "512", "-object", "memory-backend-memfd,id=mem,size=512M,share=on",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-chardev", "socket,id=back,path="+socket+",reconnect=1",
		"-device", "vhost-user-blk-pci,chardev=back,num-queues=2",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet")
	out, err := qemu.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	qemu.Stderr = &stderr
	began := time.Now()
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(4*time.Minute, func() { _ = qemu.Process.Kill() })
	defer timer.Stop()
	var got, console []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		console = append(console, lines.Text())
		_, result, ok := strings.Cut(lines.Text(), "RESULT ")
		if !ok {
			continue
		}
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), result)
		got = append(got, strings.TrimSpace(result))
		switch result {
		case "copying", "copied 3", "copied 6":
			kill(t, server)
			server = spawn(t, image, socket, &reports)
		}
	}
	err = qemu.Wait()
	before := digest(content) + " -"
	copy(content[half:], content[:half])
	want := []string{"sectors 16384 queues 2", "before " + before, "copying"}
	for _, i := range strings.Fields("1 2 3 4 5 6 7 8 9 10") {
		want = append(want, "copied "+i)
	}
	want = append(want, "after "+digest(content)+" -")
	for i := range got {
		got[i] = strings.Join(strings.Fields(got[i]), " ")
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("in the guest:\n%s\nwant\n%s\n%v; QEMU: %s\nback-end: %s\nconsole:\n%s", strings.Join(got, "\n"),
			strings.Join(want, "\n"), err, stderr.String(), reports.String(), strings.Join(console, "\n"))
	}
	if b, err := os.ReadFile(image); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the image is not as the guest wrote it (%v)", err)
	}
}
