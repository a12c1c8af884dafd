package box

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAccountsRace has the container put a FIFO in the place of its /etc/passwd, and back, while that is read: nobody opens
// a FIFO to wait for its other end.
func TestAccountsRace(t *testing.T) {
	root := t.TempDir()
	file, fifo := filepath.Join(root, "etc/passwd"), filepath.Join(root, "etc/fifo")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	const text = "root:x:0:0::/:/bin/sh\n"
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o644), unix.Mkfifo(fifo, 0o644)); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for range 20_000 {
			if got, err := readBelow(root, "etc/passwd"); err == nil && string(got) != text {
				t.Errorf("%q", got)
			}
		}
	}()
	for deadline := time.After(time.Minute); ; {
		select {
		case <-read:
			return
		case <-deadline:
			t.Fatal("it waits for a FIFO")
		default:
			if err := unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, fifo, unix.RENAME_EXCHANGE); err != nil {
				t.Fatal(err)
			}
		}
	}
}
