package lock

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFile: two holders at once there never are, be they of one process or of two.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	// flock(1) of util-linux is another process, which does not wait.
	if out, err := exec.Command("flock", "--nonblock", path, "true").CombinedOutput(); err == nil {
		t.Errorf("another process has the lock too: %s", out)
	}
	second := make(chan func())
	go func() {
		unlock, err := File(path)
		if err != nil {
			t.Error(err)
		}
		second <- unlock
	}()
	select {
	case <-second:
		t.Fatal("the lock was taken twice")
	default:
	}
	unlock()
	(<-second)()
	if out, err := exec.Command("flock", "--nonblock", path, "true").CombinedOutput(); err != nil {
		t.Errorf("the lock was not given back: %v %s", err, out)
	}
	if _, err := File(filepath.Join(path, "below")); err == nil {
		t.Error("a lock below a file")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
