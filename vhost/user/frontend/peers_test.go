package frontend_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// storageDaemon runs qemu-storage-daemon, which serves an image on a socket.
func storageDaemon(t *testing.T, img, socket string) *exec.Cmd {
	t.Helper()
	_ = os.Remove(socket)
	var stderr bytes.Buffer
	cmd := exec.Command("qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=disk,filename="+img,
		"--export", "type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=2,addr.type=unix,addr.path="+socket)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(virtiotest.Patience)
	for {
		if _, err := os.Stat(socket); err == nil {
			return cmd
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("qemu-storage-daemon made no socket: %s", stderr.String())
		}
		time.Sleep(time.Millisecond)
	}
}

func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// openSoon opens a device whose back-end has been started: its socket may not be
// there yet, or not listen.
func openSoon(spec frontend.Spec) (*frontend.Device, error) {
	for deadline := time.Now().Add(virtiotest.Patience); ; time.Sleep(time.Millisecond) {
		dev, err := frontend.Open(context.Background(), spec)
		early := errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
		if !early || time.Now().After(deadline) {
			return dev, err
		}
	}
}

// TestQEMUStorageDaemon has QEMU's back-end serve a disk, dies with it, and goes on
// with another.
func TestQEMUStorageDaemon(t *testing.T) {
	testenv.Need(t, testenv.QEMUStorageDaemon)
	img, content := image(t, 1<<20)
	socket := filepath.Join(t.TempDir(), "s")
	daemon := storageDaemon(t, img, socket)
	defer func() { stop(t, daemon) }()
	var r virtiotest.Reports
	spec := frontend.Spec{
		Type: virtio.TypeBlk, Queues: 2, QueueSize: 128, ConfigSize: 60, Dial: frontend.Socket(socket), Report: r.Add,
	}
	dev, err := openSoon(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	for range 2 {
		g.Start(^uint64(0), 64)
		useDisk(t, g, content)
	}
	for range 3 {
		stop(t, daemon)
		daemon = storageDaemon(t, img, socket)
		useDisk(t, g, content)
	}
	g.ResetDevice()
	if got, err := os.ReadFile(img); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the image is not as the guest wrote it (%v)", err)
	}
	t.Log(r.All())
}
