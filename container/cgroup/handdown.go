package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// What a group has to be before there are groups below it: in version 2 it hands controllers down, in version 1's cpuset
// it is not empty.

// ready makes a group so. It costs a read if the group is so already.
func (f folder) ready(needed map[string]string) error {
	switch {
	case f.Version == 2 && len(f.Controllers) > 0:
		return f.handDown(needed)
	case f.inherits() && f.path != f.Mount:
		return errors.Join(f.inherit("cpuset.cpus"), f.inherit("cpuset.mems"))
	}
	return nil
}

// inherits tells whether a new group of the hierarchy is empty in a way that keeps processes out.
func (f folder) inherits() bool { return f.Version == 1 && slices.Contains(f.Controllers, "cpuset") }

// inheritStep fills in what is empty in a new group of version 1's cpuset.
func (f folder) inheritStep(name string) plan.Step {
	return plan.Step{
		Op: "write", Object: f.file(name), Args: []plan.Arg{plan.A("value", "as in the group above")},
		Why: "a new cpuset is empty, and an empty one takes no process",
		Do:  func() error { return f.unlessGone(f.inherit(name)) },
	}
}

func (f folder) inherit(name string) error {
	has, err := readFile(f.file(name))
	if err != nil || strings.TrimSpace(has) != "" {
		return err
	}
	value, err := readFile(parent(f).file(name))
	if err != nil {
		return err
	}
	return writeFile(f.file(name), strings.TrimSpace(value))
}

// unlessGone passes over a group on the way that is gone again. Whoever makes the next one makes it too.
func (f folder) unlessGone(err error) error {
	if vanished(err) && f.path != f.Mount {
		return nil
	}
	return err
}

// vanished tells that a group was removed while it was made ready. That the kernel does not know a controller's name is
// ENOENT as well, but of a write.
func vanished(err error) bool {
	var read *fs.PathError
	var open *openError
	return errors.Is(err, unix.ENODEV) || errors.Is(err, fs.ErrNotExist) && (errors.As(err, &read) || errors.As(err, &open))
}

// divided are the controllers that groups below are given: all that a container's engine or its statistics know.
// Others (perf_event is always on, misc and dmem have no field) are left alone.
var divided = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"}

const subtreeControl = "cgroup.subtree_control"

// handDownStep switches controllers on for the groups below one, in version 2. It is not undone: by then others may
// have made groups there that rely on it.
func (f folder) handDownStep(needed map[string]string) plan.Step {
	return plan.Step{
		Op: "write", Object: f.file(subtreeControl), Args: []plan.Arg{plan.A("value", plus(f.dividing(needed)))},
		Why: "a controller's files appear in a group when the group above hands it down",
		Do:  func() error { return f.unlessGone(f.handDown(needed)) },
	}
}

// dividing are those of the hierarchy's controllers that are handed down.
func (f folder) dividing(needed map[string]string) []string {
	return slices.DeleteFunc(slices.Clone(f.Controllers), func(c string) bool {
		return needed[c] == "" && !slices.Contains(divided, c)
	})
}

func (f folder) handDown(needed map[string]string) error {
	text, err := readFile(f.file(subtreeControl))
	if err != nil {
		return err
	}
	has := strings.Fields(text)
	lacking := slices.DeleteFunc(f.dividing(needed), func(c string) bool { return slices.Contains(has, c) })
	if len(lacking) == 0 {
		return nil
	}
	return f.enable(lacking, needed)
}

// enable hands controllers down, as many as it can, and all that are needed.
func (f folder) enable(names []string, needed map[string]string) error {
	err := writeFile(f.file(subtreeControl), plus(names))
	if err == nil || vanished(err) {
		return err
	}
	busy := errors.Is(err, unix.EBUSY)
	for _, c := range names {
		// The kernel takes all of them or none, and one that nobody asked for may be what it refuses. But if the group
		// has processes of its own, it would still hand down those controllers that tell threads apart (cpu, pids), and
		// become a group of threads by that, below which no process can be.
		if !busy {
			err = writeFile(f.file(subtreeControl), "+"+c)
		}
		if vanished(err) {
			return err
		}
		if needed[c] != "" && err != nil {
			return f.undivided(c, needed[c], err)
		}
	}
	return nil
}

func plus(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("+" + name)
	}
	return b.String()
}

// undivided explains why a group cannot hand down a controller (cgroup-v2.rst, "Enabling and Disabling" and "No
// Internal Process Constraint").
func (f folder) undivided(controller, field string, err error) error {
	e := &MissingError{Controller: controller, Field: field}
	switch {
	case errors.Is(err, unix.EBUSY):
		e.Reason = "a group with processes of its own cannot hand it down, and there are some in " + f.path
	case errors.Is(err, unix.EOPNOTSUPP):
		e.Reason = "a group of threads cannot hand it down, as is " + f.path
	case errors.Is(err, unix.ENOENT):
		e.Reason = "the group above does not hand it down to " + f.path
	case errors.Is(err, unix.EINVAL):
		e.Reason = "the kernel refuses it" // unknown; or cpu, with realtime processes about
	default:
		return fmt.Errorf("%s: controller %s: %w", field, controller, err)
	}
	return fmt.Errorf("%w: %w", e, err)
}
