package container

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHomeIn(t *testing.T) {
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(etc, "passwd")
	if err := os.WriteFile(passwd, []byte("root:x:0:0::/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh\nv:x:8:8::relative:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]string{0: "/root", 7: "/home/u", 8: "", 9: ""} {
		if got, ok := homeIn(dir, uid); got != want || ok != (want != "") {
			t.Errorf("user %d: %q, %v, want %q", uid, got, ok, want)
		}
	}
	// A container that runs may put something else into its place at any moment, such as a FIFO that nobody writes to.
	fifo := filepath.Join(etc, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, fifo, unix.AT_FDCWD, passwd, unix.RENAME_EXCHANGE)
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			homeIn(dir, 0)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for a FIFO")
	}
	close(stop)
	<-stopped
	// Whoever waits still is let go.
	for _, path := range []string{fifo, passwd} {
		if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			unix.Close(fd)
		}
	}
	<-done
}
