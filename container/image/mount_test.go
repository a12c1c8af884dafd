package image

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

var discard = log.New(io.Discard, "", 0)

// inOverlay mounts layers, the topmost first, on a thread with mounts of its own, and has f look at it.
func inOverlay(t testing.TB, lower []string, f func(root string) error) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Overlay)
	target := t.TempDir()
	lower = append(lower, t.TempDir()) // overlayfs wants two without an upper one
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its mounts with it
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
		}
		if err == nil {
			err = unix.Mount("overlay", target, "overlay", 0, "lowerdir="+strings.Join(lower, ":"))
		}
		if err == nil {
			err = f(target)
			unix.Unmount(target, unix.MNT_DETACH)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func mountTree(t testing.TB, lower []string) string {
	t.Helper()
	var all []string
	inOverlay(t, lower, func(root string) error {
		return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			name, _ := filepath.Rel(root, path)
			switch {
			case d.Type().IsRegular():
				data, err := os.ReadFile(path)
				all = append(all, fmt.Sprintf("%s=%s", name, data))
				return err
			case d.Type() == os.ModeSymlink:
				to, err := os.Readlink(path)
				all = append(all, fmt.Sprintf("%s->%s", name, to))
				return err
			}
			all = append(all, name)
			return nil
		})
	})
	return strings.Join(all, " ")
}

// runIn runs a command with root as its root folder.
func runIn(root string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Path = command[0]
	cmd.Err = nil
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
