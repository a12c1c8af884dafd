package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// Create makes the group and sets its limits. Undone, it removes what it made and nothing else.
//
// It takes a group that is there already, if no process is in it (ErrInUse): the container's end would be theirs too.
// Nor may it be frozen (ErrFrozen), itself or by a group above.
func (g *Group) Create() []plan.Step {
	var steps []plan.Step
	for _, f := range g.folders {
		steps = append(steps, f.create(g.needed(f))...)
	}
	steps = append(steps, g.settings.steps(g)...)
	if f, file, ok := g.freezer(); ok {
		steps = append(steps, plan.Step{
			Op: "read", Object: f.file(file), Why: "frozen from above, the first process would never begin",
			Do: g.checkFrozen,
		})
	}
	return steps
}

// needed are the controllers that a limit is to be had from.
func (g *Group) needed(f folder) map[string]string {
	fields := make(map[string]string)
	for _, s := range g.settings.list {
		if s.in(f.Hierarchy) && fields[s.controller] == "" {
			fields[s.controller] = s.field
		}
	}
	return fields
}

// create makes each folder on the way from the mount to the group.
func (f folder) create(needed map[string]string) []plan.Step {
	var steps []plan.Step
	rel, err := filepath.Rel(f.Mount, f.path)
	if err != nil { // New joined the two
		panic(err)
	}
	at := folder{f.Hierarchy, f.Mount}
	names := strings.Split(rel, "/")
	for i, name := range names {
		if f.Version == 2 && len(f.Controllers) > 0 {
			steps = append(steps, at.delegate(needed))
		}
		at.path = filepath.Join(at.path, name)
		steps = append(steps, at.mkdir(i == len(names)-1))
		if f.Version == 1 && slices.Contains(f.Controllers, "cpuset") {
			steps = append(steps, at.inherit("cpuset.cpus"), at.inherit("cpuset.mems"))
		}
	}
	return steps
}

// undoLimit is how long undoing waits for processes that were killed to leave.
const undoLimit = 5 * time.Second

func (f folder) mkdir(last bool) plan.Step {
	var made []string
	step := plan.Step{
		Op: "mkdir", Object: f.path, Why: "on the way to the group",
		Do: func() (err error) {
			made, err = makeFolder(f.path, f.Mount)
			if err == nil && len(made) == 0 && last {
				err = f.checkUnused()
			}
			return err
		},
		Undo: func() error {
			for _, path := range slices.Backward(made) {
				if path == f.path && last {
					ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
					defer cancel()
					if err := removeTree(ctx, path); err != nil {
						return err
					}
				} else if err := unix.Rmdir(path); err != nil && !inUse(err) && !errors.Is(err, fs.ErrNotExist) {
					return denied(err)
				}
			}
			return nil
		},
	}
	if last {
		step.Why = f.purpose()
	}
	return step
}

// inUse tells that a group that was made on the way has others in it by now: then it is theirs.
func inUse(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) }

func (f folder) purpose() string {
	switch {
	case f.Version == 2:
		return "the group"
	case f.Name != "":
		return "the group, where " + f.Name + " looks for processes; it has no limits"
	}
	return "the group, for " + strings.Join(f.Controllers, " and ")
}

// makeFolder makes one, and those above it up to the mount that somebody else may have removed just now, as their
// container ended. It returns those that it made.
func makeFolder(path, mount string) (made []string, err error) {
	for range 10 { // against the same race again
		err = unix.Mkdir(path, 0o755)
		switch {
		case err == nil:
			return append(made, path), nil
		case errors.Is(err, unix.EEXIST):
			var stat unix.Stat_t
			if err := unix.Lstat(path, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
				return made, fmt.Errorf("%w: it is the name of one of the kernel's files", ErrInvalid)
			}
			return made, nil
		case !errors.Is(err, unix.ENOENT) || filepath.Dir(path) == mount || path == mount:
			return made, denied(err)
		}
		above, err := makeFolder(filepath.Dir(path), mount)
		made = append(made, above...)
		if err != nil {
			return made, err
		}
	}
	return made, err
}

// checkUnused wants a group that was there before to be empty.
func (f folder) checkUnused() error {
	pids, err := allPids(f.path)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("%w: it exists, and %d are in it", ErrInUse, len(pids))
	}
	return nil
}

// inherit fills in what is empty in a new group of version 1's cpuset, which takes no process until it is not.
func (f folder) inherit(name string) plan.Step {
	path := f.file(name)
	return plan.Step{
		Op: "write", Object: path, Args: []plan.Arg{plan.A("value", "as in the group above")},
		Why: "a new cpuset is empty, and an empty one takes no process",
		Do: func() error {
			has, err := readFile(path)
			if err != nil || strings.TrimSpace(has) != "" {
				return err
			}
			value, err := readFile(parent(f).file(name))
			if err != nil {
				return err
			}
			return writeFile(path, strings.TrimSpace(value))
		},
	}
}

// divided are the controllers that groups below are given: all that a container's engine or its statistics know.
// Others (perf_event is always on, misc and dmem have no field) are left alone.
var divided = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"}

// delegate switches controllers on for the groups below one, in version 2. It is not undone: by then others may have
// made groups there that rely on it.
func (f folder) delegate(needed map[string]string) plan.Step {
	var names []string
	for _, c := range f.Controllers {
		if _, need := needed[c]; need || slices.Contains(divided, c) {
			names = append(names, c)
		}
	}
	const file = "cgroup.subtree_control"
	return plan.Step{
		Op: "write", Object: f.file(file), Args: []plan.Arg{plan.A("value", plus(names))},
		Why: "a controller's files appear in a group when the group above hands it down",
		Do: func() error {
			text, err := readFile(f.file(file))
			if err != nil {
				return err
			}
			has := strings.Fields(text)
			lacking := slices.DeleteFunc(slices.Clone(names), func(c string) bool { return slices.Contains(has, c) })
			if len(lacking) == 0 {
				return nil
			}
			return f.enable(lacking, needed)
		},
	}
}

// enable hands controllers down, as many as it can, and all that are needed.
func (f folder) enable(names []string, needed map[string]string) error {
	const file = "cgroup.subtree_control"
	err := writeFile(f.file(file), plus(names))
	if err == nil {
		return nil
	}
	busy := errors.Is(err, unix.EBUSY)
	for _, c := range names {
		// The kernel takes all of them or none, and one that nobody asked for may be what it refuses. But if the group
		// has processes of its own, it would still hand down those controllers that tell threads apart (cpu, pids), and
		// become a group of threads by that, below which no process can be.
		if !busy {
			err = writeFile(f.file(file), "+"+c)
		}
		if field, need := needed[c]; err != nil && need {
			return f.undivided(c, field, err)
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
