package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

const procs = "cgroup.procs"

// Join moves a process into the group, from outside: pid is read when the steps run. It fails with ErrFrozen if the
// process would stand still. JoinFiles is the faster way.
func (g *Group) Join(pid *int) []plan.Step {
	var steps []plan.Step
	if f, file, ok := g.freezer(); ok {
		steps = append(steps, plan.Step{
			Op: "read", Object: f.file(file), Why: "in a frozen group the process would stand still", Do: g.checkFrozen,
		})
	}
	for _, f := range g.folders {
		steps = append(steps, plan.Step{
			Op: "write", Object: f.file(procs), Args: []plan.Arg{plan.A("value", "the process's id")},
			Why: "moves the process, with all its threads",
			Do: func() error {
				if *pid <= 0 { // 0 would move this process
					return fmt.Errorf("%w: process id %d", ErrInvalid, *pid)
				}
				return f.explainJoin(writeFile(f.file(procs), strconv.Itoa(*pid)))
			},
		})
	}
	return steps
}

// explainJoin says why a group takes no process.
func (f folder) explainJoin(err error) error {
	switch {
	case errors.Is(err, unix.EBUSY) && f.Version == 2:
		return fmt.Errorf("%w: it hands controllers down to groups below it, where the processes have to be", err)
	case errors.Is(err, unix.EOPNOTSUPP) && f.Version == 2:
		return fmt.Errorf("%w: it holds threads of a process that is elsewhere (cgroup.type)", err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: its cpuset is empty", err)
	case errors.Is(err, unix.EINVAL) && slices.Contains(f.Controllers, "cpu"):
		return fmt.Errorf("%w: has the process a realtime policy, and the group no linux.resources.cpu.realtimeRuntime?", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// JoinFiles are the files to which a process of one thread writes "0" to move itself into the group. Opened by whoever
// made the group (the kernel looks at the opener's rights) and written by the child after clone, they cost a fiftieth
// of what Join does: the kernel need not hold up every fork on the machine for a thread that moves itself. Where the
// child was cloned with CLONE_INTO_CGROUP and FD, cloned is true, and the version 2 group is not among them.
func (g *Group) JoinFiles(cloned bool) []string {
	var files []string
	for _, f := range g.folders {
		switch {
		case f.Version == 1:
			// cgroup_procs_write_start (kernel/cgroup/cgroup.c) takes cgroup_threadgroup_rwsem for writing, which waits
			// for a grace period of RCU, unless it is asked for one thread and that is the caller.
			files = append(files, f.file("tasks"))
		case !cloned:
			files = append(files, f.file(procs)) // version 2 has no such door
		}
	}
	return files
}

// CanClone tells whether a process can be born into the version 2 group, by FD: not where the group has none (most hybrid
// hosts), and not with a limit of no processes, which would refuse the first one too.
func (g *Group) CanClone() bool {
	_, ok := g.unified()
	return ok && !slices.ContainsFunc(g.settings.list, func(s setting) bool { return s.controller == "pids" && s.value == "0" })
}

// FD opens the version 2 group for CLONE_INTO_CGROUP; the caller closes it. It is ErrNotSupported where CanClone is false.
func (g *Group) FD() (*os.File, error) {
	f, _ := g.unified()
	if !g.CanClone() {
		return nil, fmt.Errorf("cgroup: open group for CLONE_INTO_CGROUP: %w: it is of version 1, or may hold no process", ErrNotSupported)
	}
	fd, err := openFile(f.path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open group %s: %w", f.path, err)
	}
	return os.NewFile(uintptr(fd), f.path), nil
}

// delegateFile lists the files that may be given away (cgroups(7), "Cgroups v2 delegation: delegating").
const delegateFile = "/sys/kernel/cgroup/delegate"

// Delegate gives the version 2 group to the container's root, as the specification's "Cgroup ownership" tells and
// /sys/kernel/cgroup/delegate lists. No steps in version 1, where that is not safe.
func (g *Group) Delegate(uid, gid int) []plan.Step {
	f, ok := g.unified()
	if !ok {
		return nil
	}
	return []plan.Step{{
		Op: "chown", Object: f.path,
		Args: []plan.Arg{plan.A("uid", uid), plan.A("gid", gid), plan.A("files", "those in "+delegateFile)},
		Why:  "the container's root may divide the group; the files that limit it stay the host's",
		Do:   func() error { return chownDelegated(f, uid, gid) },
	}}
}

func chownDelegated(f folder, uid, gid int) error {
	names := []string{procs, "cgroup.subtree_control", "cgroup.threads"} // before Linux 4.15 there was no list
	if list, err := os.Open(delegateFile); err == nil {
		defer list.Close()
		names = nil
		for lines := bufio.NewScanner(list); lines.Scan(); {
			// Only names: the list is the kernel's, and still nothing outside of the group is to be given away.
			if name := strings.TrimSpace(lines.Text()); name != "" && !strings.Contains(name, "/") && name != ".." {
				names = append(names, name)
			}
		}
	}
	for _, name := range append(names, ".") {
		err := unix.Lchown(f.file(name), uid, gid)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, denied(err))
		}
	}
	return nil
}
