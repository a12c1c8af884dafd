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
			steps = append(steps, at.handDownStep(needed))
		}
		at.path = filepath.Join(at.path, name)
		steps = append(steps, at.mkdir(i == len(names)-1, needed))
		if f.inherits() {
			steps = append(steps, at.inheritStep("cpuset.cpus"), at.inheritStep("cpuset.mems"))
		}
	}
	return steps
}

// undoLimit is how long undoing waits for processes that were killed to leave.
const undoLimit = 5 * time.Second

func (f folder) mkdir(last bool, needed map[string]string) plan.Step {
	var made []folder
	undo := func() error {
		for _, at := range slices.Backward(made) {
			if err := at.unmake(last && at.path == f.path); err != nil {
				return err
			}
		}
		return nil
	}
	step := plan.Step{
		Op: "mkdir", Object: f.path, Why: "on the way to the group", Undo: undo,
		Do: func() (err error) {
			made, err = f.make(needed)
			if err == nil && len(made) == 0 && last {
				err = f.checkUnused()
			}
			if err != nil {
				return errors.Join(err, undo())
			}
			return nil
		},
	}
	if last {
		step.Why = f.purpose()
	}
	return step
}

// unmake removes what make made. A group on the way may have others in it by now, and then it is theirs.
func (f folder) unmake(last bool) error {
	if last {
		ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
		defer cancel()
		return removeTree(ctx, f.path)
	}
	if err := unix.Rmdir(f.path); err != nil && !inUse(err) && !errors.Is(err, fs.ErrNotExist) {
		return denied(err)
	}
	return nil
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

// make makes one folder. A group on the way to it may be gone again, as whoever made it has undone that, or be made anew
// by another who is not done with it: so it is made too if need be, and is made ready once there is something in it that
// keeps it. The folders that were made are returned, with an error too.
func (f folder) make(needed map[string]string) (made []folder, err error) {
	for range 10 { // the same may happen again
		err = unix.Mkdir(f.path, 0o755)
		switch {
		case err == nil:
			made = append(made, f)
		case errors.Is(err, unix.EEXIST):
			var stat unix.Stat_t
			if err := unix.Lstat(f.path, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
				return made, fmt.Errorf("%w: it is the name of one of the kernel's files", ErrInvalid)
			}
		case !errors.Is(err, unix.ENOENT) || parent(f).path == f.Mount:
			return made, denied(err)
		default:
			above, err := parent(f).make(needed)
			made = append(made, above...)
			if err != nil {
				return made, err
			}
			continue
		}
		if err = parent(f).ready(needed); !vanished(err) {
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
