package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The commands' cgroups (cgroup v2, Documentation/admin-guide/cgroup-v2.rst):
//
//	Server.Cgroup/client-3/         one control stream; killed and removed when it ends
//	Server.Cgroup/client-3/7f2c.../ one command, with its limits
//
// A process that changes its session or becomes a daemon is still in there.

// killTimeout bounds the wait for killed processes. Only one that hangs in the kernel takes long.
const killTimeout = 10 * time.Second

// makeCgroup makes a command's cgroup below its client's.
func makeCgroup(client, name string, limits Limits) (string, error) {
	dir := filepath.Join(client, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, l := range []struct {
		controller, file string
		value            uint64
	}{
		{"memory", "memory.max", limits.Memory},
		{"pids", "pids.max", limits.Pids},
	} {
		if l.value == 0 {
			continue
		}
		if err := limitCgroup(dir, l.controller, l.file, l.value); err != nil {
			unix.Rmdir(dir)
			return "", fmt.Errorf("limit %s: %w", l.controller, err)
		}
	}
	return dir, nil
}

// limitCgroup writes a limit, after making its controller reach down to there.
func limitCgroup(dir, controller, file string, value uint64) error {
	client := filepath.Dir(dir)
	for _, parent := range []string{filepath.Dir(client), client} {
		err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0)
		if err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, file), strconv.AppendUint(nil, value, 10), 0)
}

// killCgroup kills every process in a cgroup and below and waits for their end.
func killCgroup(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		return err // fs.ErrNotExist: nothing was started, or the kernel is older than 5.14
	}
	return waitEmpty(dir)
}

// waitEmpty waits until no process is in a cgroup and below.
func waitEmpty(dir string) error {
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return err
	}
	defer events.Close()
	deadline := time.Now().Add(killTimeout)
	for {
		// A change of the file is POLLPRI from the last read on, so none is missed between read and poll.
		text := make([]byte, 256)
		n, err := events.ReadAt(text, 0)
		if n == 0 && err != nil {
			return err
		}
		if bytes.Contains(text[:n], []byte("populated 0")) {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%s: %w", dir, unix.ETIMEDOUT)
		}
		poll := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}
		unix.Poll(poll, int(left.Milliseconds())+1)
	}
}

// removeCgroup removes a cgroup and what was made below it, the deepest first.
func removeCgroup(dir string) {
	var dirs []string
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		unix.Rmdir(d)
	}
}
