package container

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/plan"
)

// ownLimit is a limit that the child would meet itself: it opens more files at a time than the command may.
const ownLimit = "RLIMIT_NOFILE"

// limit has the child set a limit of its own.
func limit(p *child.Program, r specs.POSIXRlimit, why string) {
	words := binary.LittleEndian.AppendUint64(nil, r.Soft)
	words = binary.LittleEndian.AppendUint64(words, r.Hard)
	p.Call("prlimit64", unix.SYS_PRLIMIT64, r.Type, why, child.Int("pid", 0), child.Int("resource", rlimitNumbers[r.Type]),
		p.Bytes("limit", words, fmt.Sprintf("{%d %d}", r.Soft, r.Hard)), child.Int("old", 0))
}

// raised are those of a process's limits that are above this process's, if it has a user namespace: there no capability lets it
// raise them, see getrlimit(2). The parent may.
func raised(ns namespaces, limits []specs.POSIXRlimit) []specs.POSIXRlimit {
	if !ns.has(unix.CLONE_NEWUSER) {
		return nil
	}
	var list []specs.POSIXRlimit
	for _, r := range limits {
		var own unix.Rlimit
		if err := unix.Getrlimit(rlimitNumbers[r.Type], &own); err == nil && r.Hard > own.Max {
			list = append(list, r)
		}
	}
	return list
}

// raise lifts what a process may set its limit to. It sets it itself.
func raise(pid int, r specs.POSIXRlimit) error {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, rlimitNumbers[r.Type], nil, &l); err != nil {
		return os.NewSyscallError("prlimit64", err)
	}
	l.Max = r.Hard
	if err := unix.Prlimit(pid, rlimitNumbers[r.Type], &l, nil); err != nil {
		return fmt.Errorf("raise %s to %d: %w", r.Type, r.Hard, os.NewSyscallError("prlimit64", err))
	}
	return nil
}

func (a *assembly) raiseSteps() []plan.Step {
	var steps []plan.Step
	for _, r := range a.process.raised {
		steps = append(steps, plan.Step{
			Op: "prlimit64", Object: r.Type, Args: []plan.Arg{plan.A("hard", r.Hard)},
			Why: "no capability of a user namespace raises it", Do: func() error { return raise(a.pid, r) },
		})
	}
	return steps
}
