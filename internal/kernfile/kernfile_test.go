package kernfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 2047, 2048, 2049, 100_000} {
		want := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are read as %d, %v", size, len(got), err)
		}
	}
	if got, err := Read("/proc/self/mountinfo"); err != nil || !bytes.Contains(got, []byte(" /proc ")) {
		t.Errorf("mountinfo: %q, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	var path *fs.PathError
	if _, err := Read(dir + "/none"); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &path) || path.Path != dir+"/none" {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Read(dir); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(dir+"/none", unix.O_WRONLY); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a file that is not there: %v", err)
	}
	f, err := Open("/dev/null", unix.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("descriptor flags %#x, %v", flags, err)
	}
}
