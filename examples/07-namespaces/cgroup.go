package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// prepareCgroup puts the process into a cgroup of its own first: the namespace
// gets as its root what its maker was in. With clone that would be the
// parent's. So the child is cloned into the cgroup, and unshares then.
func prepareCgroup(cmd *exec.Cmd) (*visitor, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, fmt.Errorf("no cgroup2 mount: mount -t cgroup2 none DIR makes one")
	}
	dir, err := os.MkdirTemp(mounts[0].Mountpoint, "lesson-")
	if err != nil {
		return nil, err
	}
	group, err := os.Open(dir)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd()) // clone3, CLONE_INTO_CGROUP
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWCGROUP
	return &visitor{
		look: func(pid int) error {
			path, err := cgroupOf(pid)
			if err == nil && filepath.Base(path) != filepath.Base(dir) {
				err = fmt.Errorf("it is in %s, and was put into %s", path, dir)
			}
			fmt.Printf("  outside: /proc/PID/cgroup has 0::%s\n", path)
			return err
		},
		leave: func() error {
			group.Close()
			return os.Remove(dir)
		},
	}, nil
}

func insideCgroup([]string) error {
	path, err := cgroupOf(os.Getpid())
	fmt.Printf("  inside: /proc/self/cgroup has 0::%s\n", path)
	return err
}

// cgroupOf reads the path in the hierarchy of version 2.
func cgroupOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("/proc/%d/cgroup has no line for version 2", pid)
}
