package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/internal/plan"
)

// Engine makes containers and finds them again. Its state is a folder, so that several processes may use it, one after
// the other or at the same time, and what one has made another can end.
type Engine struct {
	// Root is the folder, absolute, such as /run/tandem-oci.
	Root string
	// Warn, if not nil, is told of what went wrong and changes nothing: hooks that failed too late.
	Warn func(format string, args ...any)

	resctrl string // the resctrl file system, where it is not to be looked for
}

func (e *Engine) warn(format string, args ...any) {
	if e.Warn != nil {
		e.Warn(format, args...)
	}
}

// Plan is what Create would do for the specification, to be printed: the parent's steps and the child's. It needs no
// rights, and asks the kernel for nothing.
func (e *Engine) Plan(s *Spec) (*plan.Plan, error) { return e.plan(s, true) }

// PlanRun is Plan for Run, which has fewer steps: nobody else has to be able to start the process.
func (e *Engine) PlanRun(s *Spec) (*plan.Plan, error) { return e.plan(s, s.stopsBeforeStart()) }

func (e *Engine) plan(s *Spec, detached bool) (*plan.Plan, error) {
	a, err := e.assemble(s, detached, true)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", s.ID, err)
	}
	return a.plan, nil
}

// Create makes a container whose process stands right before it executes its command, and waits for Start. If it fails,
// nothing of it is left. ErrExists is an ID that is taken.
func (e *Engine) Create(ctx context.Context, s *Spec) (*Container, error) {
	c, p, err := e.create(ctx, s, true)
	if err != nil {
		return nil, err
	}
	p.release()
	return c, nil
}

// Run is Create and Start in one, with the process a child of this one, so that it can be waited for.
func (e *Engine) Run(ctx context.Context, s *Spec) (*Container, *Process, error) {
	between := s.stopsBeforeStart()
	c, p, err := e.create(ctx, s, between)
	if err != nil {
		return nil, nil, err
	}
	if between {
		if _, err = c.Notify(); err == nil {
			err = c.Start(ctx)
		}
	} else {
		err = c.started(ctx)
	}
	if err != nil {
		cleanUp := context.WithoutCancel(ctx)
		killed := p.child.Kill()
		if c.notify != nil {
			c.notify.Close()
		}
		return nil, nil, errors.Join(err, killed, c.Delete(cleanUp, true))
	}
	return c, p, nil
}

// stopsBeforeStart tells whether something has to happen in a container that is created and not started yet.
func (s *Spec) stopsBeforeStart() bool {
	return s.Notify || s.Config != nil && s.Config.Hooks != nil && len(s.Config.Hooks.StartContainer) > 0
}

func (e *Engine) create(ctx context.Context, s *Spec, detached bool) (*Container, *Process, error) {
	a, err := e.assemble(s, detached, s.Observe != nil)
	if err != nil {
		return nil, nil, fmt.Errorf("container %s: %w", s.ID, err)
	}
	if err := a.run(ctx); err != nil {
		return nil, nil, err
	}
	return &Container{engine: e, state: a.state, config: a.spec.Config}, &Process{a.child}, nil
}

// Load finds a container by its ID. ErrNotFound is none.
func (e *Engine) Load(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	s, err := readState(filepath.Join(e.Root, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("container %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	return &Container{engine: e, state: s}, nil
}

// List finds all, sorted by ID. What cannot be read is an error beside those that can.
func (e *Engine) List() ([]*Container, error) {
	entries, err := os.ReadDir(e.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*Container
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), makingMark) {
			continue
		}
		c, err := e.Load(entry.Name())
		switch {
		case err == nil:
			list = append(list, c)
		case !errors.Is(err, ErrNotFound): // that one is being made, or removed
			errs = append(errs, err)
		}
	}
	return list, errors.Join(errs...)
}

// Collect removes what was left by those that were killed: folders in the making, or half removed, and containers that were
// never made to the end, with their processes and cgroups. It gives the names of what it has removed.
func (e *Engine) Collect(ctx context.Context) (removed []string, err error) {
	entries, err := os.ReadDir(e.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		pid, _, making := strings.Cut(strings.TrimPrefix(name, makingMark), "~")
		if !strings.HasPrefix(name, makingMark) || !making {
			continue
		}
		if _, statErr := os.Stat("/proc/" + pid); statErr == nil {
			continue // it is being made, or its maker's number is another's by now: then the next time
		}
		if err := os.RemoveAll(filepath.Join(e.Root, name)); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, name)
	}
	list, err := e.List()
	errs = append(errs, err)
	for _, c := range list {
		if c.state.Init.PID != 0 || c.state.Maker.Alive() || c.catchUp() != nil || c.state.Init.PID != 0 {
			continue // the last: it was made to the end after its state had been read
		}
		if err := c.Delete(ctx, true); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, c.state.ID)
	}
	return removed, errors.Join(errs...)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
