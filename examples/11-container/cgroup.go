package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	memoryLimit = "33554432"
	pidsLimit   = "64"
)

// groupFolder is where a group can be made, and what to write in it, in order.
type groupFolder struct {
	parent string
	limits []limitFile
}

type limitFile struct {
	name, value string
	optional    bool // kernels without swap have no file for it
}

// limit puts the process into a group of its own: in one folder with version 2, in
// one for each controller with version 1 (lesson 9).
func limit(pid int) (undo []func() error, err error) {
	folders, err := groupFolders()
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		dir, err := os.MkdirTemp(f.parent, "lesson-")
		if err != nil {
			return undo, err
		}
		undo = append(undo, func() error { return removeGroup(dir) })
		for _, l := range f.limits {
			err := os.WriteFile(filepath.Join(dir, l.name), []byte(l.value), 0)
			if err != nil && !(l.optional && errors.Is(err, os.ErrNotExist)) {
				return undo, err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

func groupFolders() ([]groupFolder, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		has, err := os.ReadFile(filepath.Join(m.Mountpoint, "cgroup.controllers"))
		if err != nil || !slices.Contains(strings.Fields(string(has)), "memory") {
			continue // of version 1, or without what we want
		}
		on := filepath.Join(m.Mountpoint, "cgroup.subtree_control")
		if err := os.WriteFile(on, []byte("+memory +pids"), 0); err != nil {
			return nil, err
		}
		return []groupFolder{{m.Mountpoint, []limitFile{
			{name: "memory.max", value: memoryLimit},
			{name: "memory.swap.max", value: "0", optional: true},
			{name: "pids.max", value: pidsLimit},
		}}}, nil
	}
	var folders []groupFolder
	for _, m := range mounts {
		switch options := strings.Split(m.VFSOptions, ","); {
		case slices.Contains(options, "memory"):
			folders = append(folders, groupFolder{m.Mountpoint, []limitFile{
				{name: "memory.limit_in_bytes", value: memoryLimit},
				{name: "memory.memsw.limit_in_bytes", value: memoryLimit, optional: true},
			}})
		case slices.Contains(options, "pids"):
			folders = append(folders, groupFolder{m.Mountpoint, []limitFile{{name: "pids.max", value: pidsLimit}}})
		}
	}
	if len(folders) != 2 {
		return nil, fmt.Errorf("memory and pids are in %d cgroup hierarchies, want 2", len(folders))
	}
	return folders, nil
}

// removeGroup waits, as a process that has just ended may still count.
func removeGroup(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
}
