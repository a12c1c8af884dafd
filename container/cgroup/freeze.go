package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// State is whether a group's processes run.
type State string

// The states of a group.
const (
	Running  State = "running"
	Freezing State = "freezing"
	Frozen   State = "frozen"
)

const (
	freezerState = "freezer.state" // version 1: THAWED, FREEZING, FROZEN
	cgroupFreeze = "cgroup.freeze" // version 2: 0 or 1, what is wanted
	cgroupEvents = "cgroup.events" // version 2: what is, by "frozen"
)

// freezer is the folder that can be frozen, and the file that tells its state.
func (g *Group) freezer() (f folder, file string, ok bool) {
	if f, ok := g.with("freezer"); ok {
		return f, freezerState, true
	}
	f, ok = g.unified()
	return f, cgroupEvents, ok
}

// Freeze stops every process in the group and below, and returns when all stand still. If they do not before ctx ends,
// they go on.
func (g *Group) Freeze(ctx context.Context) error { return g.setFrozen(ctx, true) }

// Thaw lets them go on.
func (g *Group) Thaw(ctx context.Context) error { return g.setFrozen(ctx, false) }

func (g *Group) setFrozen(ctx context.Context, frozen bool) error {
	what := map[bool]string{true: "freeze", false: "thaw"}[frozen]
	f, file, ok := g.freezer()
	if !ok {
		return fmt.Errorf("cgroup: %s group: %w", what, notMounted("freezer", "pause"))
	}
	if frozen {
		if pids, err := allPids(f.path); err == nil {
			if err := notMe(pids); err != nil {
				return fmt.Errorf("cgroup: %s group %s: %w", what, f.path, err)
			}
		}
	}
	set := f.setFrozen1
	if file == cgroupEvents {
		set = f.setFrozen2
	}
	err := set(ctx, frozen)
	if err == nil {
		return nil
	}
	if frozen && ctx.Err() != nil { // half of them standing still is no state to leave a group in
		err = errors.Join(err, set(context.WithoutCancel(ctx), false))
	}
	if !f.alive() {
		err = errors.Join(ErrGone, err)
	}
	return fmt.Errorf("cgroup: %s group %s: %w", what, f.path, err)
}

// refreeze is how often a group of version 1 is asked again. Its freezer goes through the processes once, and misses
// one that was forked meanwhile; and one that waits for another that is frozen already (vfork) has to be let go first.
const refreeze = 50 * time.Millisecond

func (f folder) setFrozen1(ctx context.Context, frozen bool) error {
	want, state := "THAWED", Running
	if frozen {
		want, state = "FROZEN", Frozen
	}
	if !frozen {
		// A group that was frozen from above stays so.
		if above, err := readUint(f.file("freezer.parent_freezing")); err == nil && above != 0 {
			if err := writeFile(f.file(freezerState), want); err != nil {
				return err
			}
			return fmt.Errorf("%w: by a group above it", ErrFrozen)
		}
	}
	var p pause
	asked := time.Time{}
	for {
		if time.Since(asked) > refreeze {
			if frozen && !asked.IsZero() {
				if err := writeFile(f.file(freezerState), "THAWED"); err != nil {
					return err
				}
			}
			if err := writeFile(f.file(freezerState), want); err != nil {
				return err
			}
			asked = time.Now()
		}
		text, err := readFile(f.file(freezerState))
		if err != nil {
			return err
		}
		now, err := parseFreezer(text)
		if err != nil || now == state {
			return err
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("it is %s: %w", now, err)
		}
	}
}

func (f folder) setFrozen2(ctx context.Context, frozen bool) error {
	value := "0"
	if frozen {
		value = "1"
	}
	if err := writeFile(f.file(cgroupFreeze), value); err != nil {
		if errors.Is(err, fs.ErrNotExist) && f.alive() {
			return &MissingError{"freezer", "pause", "Linux 5.2 has it in version 2"}
		}
		return err
	}
	if !frozen && f.frozenAbove() {
		return fmt.Errorf("%w: by a group above it", ErrFrozen)
	}
	return until(ctx, f.file(cgroupEvents), func(text string) (bool, error) {
		now, err := parseEvents(text)
		return now.frozen == frozen, err
	})
}

// frozenAbove looks for a group on the way to the mount that was told to freeze.
func (f folder) frozenAbove() bool {
	for f = parent(f); len(f.path) > len(f.Mount) && f.path != "/"; f = parent(f) {
		text, err := readFile(f.file(cgroupFreeze))
		if err != nil {
			return false // the topmost has none
		}
		if strings.TrimSpace(text) == "1" {
			return true
		}
	}
	return false
}

// State reads whether the group is frozen, by itself or from above.
func (g *Group) State() (State, error) {
	f, file, ok := g.freezer()
	if !ok {
		return Running, nil
	}
	state, err := f.state(file)
	if err != nil {
		return "", fmt.Errorf("cgroup: state of %s: %w", f.path, err)
	}
	return state, nil
}

func (f folder) state(file string) (State, error) {
	text, err := readFile(f.file(file))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !f.alive() {
			err = errors.Join(ErrGone, err)
		}
		return "", err
	}
	if file == freezerState {
		return parseFreezer(text)
	}
	now, err := parseEvents(text)
	if err != nil {
		return "", err
	}
	if now.frozen {
		return Frozen, nil
	}
	// What is wanted is another file, which the topmost group lacks.
	if wanted, err := readFile(f.file(cgroupFreeze)); err == nil && strings.TrimSpace(wanted) == "1" {
		return Freezing, nil
	}
	return Running, nil
}

func (g *Group) checkFrozen() error {
	f, file, ok := g.freezer()
	if !ok {
		return nil
	}
	state, err := f.state(file)
	if err == nil && state != Running {
		err = ErrFrozen
	}
	return err
}

func parseFreezer(text string) (State, error) {
	switch strings.TrimSpace(text) {
	case "THAWED":
		return Running, nil
	case "FREEZING":
		return Freezing, nil
	case "FROZEN":
		return Frozen, nil
	}
	return "", fmt.Errorf("%s: unknown state %q", freezerState, text)
}

// events is cgroup.events.
type events struct{ populated, frozen bool }

func parseEvents(text string) (events, error) {
	fields, err := parseFlat(text)
	if err != nil {
		return events{}, fmt.Errorf("%s: %w", cgroupEvents, err)
	}
	return events{fields["populated"] != 0, fields["frozen"] != 0}, nil
}
