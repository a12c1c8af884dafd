package backend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/initramfs"
	"tandem/internal/testenv"
	"tandem/virtio/vsock"
)

// vsockScript runs as pid 1.
const vsockScript = `#!/bin/sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t sysfs sys /sys
for m in MODULES; do busybox insmod $m || echo RESULT cannot load $m; done
exec /vsockguest
`

// TestVsockQEMU has QEMU, with Linux in it, use sockets of ours: each side connects to the other.
func TestVsockQEMU(t *testing.T) {
	testenv.Need(t, testenv.QEMU, testenv.GuestKernel, testenv.Busybox, testenv.GoToolchain, testenv.NotLab)
	dir := t.TempDir()
	program := filepath.Join(dir, "vsockguest")
	build := exec.Command("go", "build", "-o", program, "./testdata/vsockguest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	kernel, initrd := bootDisk(t, vsockScript, []string{"virtio_pci", "vmw_vsock_virtio_transport"},
		initramfs.File{Name: "/vsockguest", Mode: 0o755, Data: text})

	device, err := vsock.New(vsock.Spec{CID: 33})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	server, err := New(device, Options{Report: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)

	answerGuest(t, device, 52, func(c net.Conn) {
		sum := md5.New()
		_, _ = io.Copy(sum, c)
		fmt.Fprintf(c, "%x", sum.Sum(nil))
	})
	answerGuest(t, device, 53, func(c net.Conn) {
		b, _ := io.ReadAll(c)
		_, _ = c.Write(b)
	})
	answerGuest(t, device, 54, func(net.Conn) { dialGuest(t, device) })

	qemu := exec.Command("qemu-system-x86_64", "-M", "q35,memory-backend=mem", "-accel", "tcg", "-cpu", "max",
		"-m", "512", "-object", "memory-backend-memfd,id=mem,size=512M,share=on",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-chardev", "socket,id=back,path="+socket, "-device", "vhost-user-vsock-pci,chardev=back",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet")
	qemu.Stderr = os.Stderr
	out, err := qemu.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(3*time.Minute, func() { _ = qemu.Process.Kill() })
	defer timer.Stop()
	var results []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
		if _, result, ok := strings.Cut(lines.Text(), "RESULT "); ok {
			results = append(results, strings.TrimSpace(result))
		}
	}
	if err := qemu.Wait(); err != nil {
		t.Error(err)
	}
	want := []string{"nobody: connection reset by peer", "bulk: <nil>", "echoes: 100"}
	if !slices.Equal(results, want) {
		t.Errorf("the guest says %q, want %q", results, want)
	}
	if s := device.Stats(); s.FromGuest < 102 || s.FromHost < 10 || s.Drops != nil {
		t.Errorf("stats %+v", s)
	}
}

// answerGuest serves the guest's connections to a port.
func answerGuest(t *testing.T, device *vsock.Device, port uint32, serve func(net.Conn)) {
	t.Helper()
	l, err := device.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// dialGuest connects to the guest, which sends back what it gets.
func dialGuest(t *testing.T, device *vsock.Device) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 10 {
		c, err := device.DialContext(ctx, 1024)
		if err != nil {
			t.Error(err)
			return
		}
		want := make([]byte, 1<<20)
		for j := range want {
			want[j] = byte(j*13 + i)
		}
		go func() {
			_, _ = c.Write(want)
			_ = c.(vsock.Conn).CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("connection %d: %d bytes came back, %v", i, len(got), err)
		}
		c.Close()
	}
	if c, err := device.DialContext(ctx, 7); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a port where nobody listens: %v, %v", c, err)
	}
}
