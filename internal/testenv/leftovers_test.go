package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { MainHostWide(m) }

// TestLeftovers leaves one thing of each kind behind, sees it named, takes it away, and sees nothing named.
func TestLeftovers(t *testing.T) {
	for _, test := range []struct {
		name  string
		kinds []kind
		needs []*Requirement
		leave func(t *testing.T) (name string, undo func())
	}{
		{"process", ownKinds, nil, func(t *testing.T) (string, func()) {
			cmd := exec.Command("sleep", "60")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return "sleep 60", func() { cmd.Process.Kill(); cmd.Wait() }
		}},
		{"orphan", ownKinds, nil, func(t *testing.T) (string, func()) {
			pid, err := exec.Command("sh", "-c", "sleep 61 >&- 2>&- & echo $!").Output()
			if err != nil {
				t.Fatal(err)
			}
			return "sleep 61", func() {
				exec.Command("kill", strings.TrimSpace(string(pid))).Run()
			}
		}},
		{"descriptor", ownKinds, nil, func(t *testing.T) (string, func()) {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			return "file descriptor anon_inode:[eventfd]", func() { unix.Close(fd) }
		}},
		{"temporary", ownKinds, nil, func(t *testing.T) (string, func()) {
			f, err := os.CreateTemp("", "forgotten")
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			return "temporary file " + filepath.Base(f.Name()), func() { os.Remove(f.Name()) }
		}},
		{"mount", hostKinds, []*Requirement{Root}, func(t *testing.T) (string, func()) {
			dir := t.TempDir()
			if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			return "mount " + dir + " (tmpfs)", func() { unix.Unmount(dir, 0) }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			Need(t, test.needs...)
			before := take(test.kinds)
			name, undo := test.leave(t)
			left := before.left()
			undo()
			if !slices.ContainsFunc(left, func(l string) bool { return strings.Contains(l, name) }) {
				t.Errorf("left() = %q, want one with %q", left, name)
			}
			if left := before.leftAfter(time.Minute); len(left) > 0 {
				t.Errorf("left() = %q after all was undone", left)
			}
		})
	}
}

func TestListsCanBeMade(t *testing.T) {
	for _, k := range append(ownKinds, hostKinds...) {
		if _, err := k.list(); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}
