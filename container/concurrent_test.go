package container

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/process"
)

// Whoever else removes a container at the same time, it is done once.
func TestDeleteAtTheSameTime(t *testing.T) {
	b := newBench(t)
	log := filepath.Join(t.TempDir(), "log")
	c := b.running(func(s *Spec) {
		s.Config.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo gone >>" + log}}}}
	})
	var all sync.WaitGroup
	for range 4 {
		other, err := b.Load(c.ID())
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := other.Delete(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
	}
	reap(c.state.Init.PID)
	all.Wait()
	if said, err := os.ReadFile(log); err != nil || string(said) != "gone\n" {
		t.Errorf("the hook says %q, %v", said, err)
	}
}

// Whoever else starts a container at the same time, it is started once.
func TestStartAtTheSameTime(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	s.Config.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo starts >>/log"}}}}
	c := b.create(s)
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		other, err := b.Load(c.ID())
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { errs[i] = other.Start(t.Context()) })
	}
	all.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, ErrNotCreated) {
			t.Error(err)
		}
	}
	if said, err := os.ReadFile(filepath.Join(b.root, "log")); started != 1 || err != nil || string(said) != "starts\n" {
		t.Errorf("it was started %d times; the hook says %q, %v", started, said, err)
	}
}

// A container that is gone is not mistaken for another one of its ID.
func TestDeleteOfAnother(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	first, err := b.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := b.Load(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	reap(first.state.Init.PID)
	second := b.create(s)
	if err := stale.Delete(t.Context(), true); err != nil {
		t.Error(err)
	}
	if err := stale.Delete(t.Context(), false); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete: %v, want %v", err, ErrNotFound)
	}
	if _, err := b.Load(s.ID); err != nil || b.status(second) != specs.StateCreated {
		t.Errorf("the other is %s, %v", b.status(second), err)
	}
}

// A wait for somebody else who removes it can be given up.
func TestDeleteGivesUp(t *testing.T) {
	b := newBench(t)
	c := b.create(b.spec("true"))
	unlock, err := c.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Delete(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("delete: %v, want %v", err, context.DeadlineExceeded)
	}
}

// Whoever reads a state right before its maker puts the process down and ends, finds the container created.
func TestStateIsReadTooEarly(t *testing.T) {
	b := newBench(t)
	c := b.create(b.spec("true"))
	early := *c.state
	early.Init = process.ID{}
	early.Maker = ended(t)
	late := early
	rewrite(t, c, &late)
	if got := b.status(&Container{engine: b.Engine, state: &early}); got != specs.StateCreated {
		t.Errorf("status %s, want created", got)
	}
}

// ended is a process that has ended.
func ended(t *testing.T) process.ID {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := process.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return id
}

// rewrite makes a container one that another maker has made.
func rewrite(t *testing.T, c *Container, s *state) {
	t.Helper()
	path := filepath.Join(c.dir(), stateFile)
	_, config, err := readStateAndConfig(c.dir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	text = append(append(append(text, '\n'), config...), '\n')
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (change{Init: c.state.Init, Beneath: c.state.Beneath}).append(c.dir()); err != nil {
		t.Fatal(err)
	}
	c.state.Maker = s.Maker
}
