package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Pids are the processes in the group itself, sorted.
func (g *Group) Pids() ([]int, error) {
	f := g.counting()
	pids, err := readPids(f.file(procs))
	if err != nil {
		return nil, fmt.Errorf("cgroup: processes of %s: %w", f.path, err)
	}
	slices.Sort(pids)
	return pids, nil
}

// AllPids are those in the group and in all below it, sorted.
func (g *Group) AllPids() ([]int, error) {
	f := g.counting()
	pids, err := allPids(f.path)
	if err != nil {
		return nil, fmt.Errorf("cgroup: processes of %s: %w", f.path, err)
	}
	return pids, nil
}

// counting is the folder whose processes are the group's. All of them have the same, unless somebody moved some by
// hand; then they are best looked for where they can be frozen, or cannot have come from without being counted.
func (g *Group) counting() folder {
	if f, ok := g.unified(); ok {
		return f
	}
	for _, controller := range []string{"freezer", "pids", "memory", "devices"} {
		if f, ok := g.with(controller); ok {
			return f
		}
	}
	return g.folders[0]
}

// allPids gathers processes below a folder. Groups may go while it looks.
func allPids(path string) ([]int, error) {
	var pids []int
	err := eachGroup(path, func(dir string) error {
		some, err := readPids(filepath.Join(dir, procs))
		pids = append(pids, some...)
		return err
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

func readPids(path string) ([]int, error) {
	text, err := readFile(path)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, nil // a group of threads, whose processes are those of a group above
	}
	if err != nil {
		return nil, err
	}
	return parsePids(text)
}

// parsePids reads cgroup.procs. A 0 is a process of another PID namespace than the reader's, which has no number for
// it. It must never get to kill(2), where 0 is the caller's own process group.
func parsePids(text string) ([]int, error) {
	var pids []int
	for line := range strings.Lines(text) {
		pid, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("malformed process id %q", line)
		}
		if pid == 0 {
			return nil, fmt.Errorf("%w: it holds processes of another PID namespace, which have no number here", ErrNotSupported)
		}
		pids = append(pids, int(pid))
	}
	return pids, nil
}

// alive tells whether a folder is there.
func (f folder) alive() bool {
	_, err := os.Stat(f.path)
	return err == nil
}
