package box

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container"
	"tandem/network"
)

func (r *Record) start(ctx context.Context, n *boxNetwork, t Streams) (*container.Process, error) {
	s, err := r.spec(n)
	if err != nil {
		return nil, err
	}
	s.Stdin, s.Stdout, s.Stderr = t.Stdin, t.Stdout, t.Stderr
	s.Console, s.Observe = t.Console, t.Observe
	s.Warn = r.warner(t)
	if t.ConsoleSize[0] != 0 && s.Config.Process.Terminal {
		s.Config.Process.ConsoleSize = &specs.Box{Height: uint(t.ConsoleSize[0]), Width: uint(t.ConsoleSize[1])}
	}
	_, p, err := r.home.Engine().Run(ctx, s)
	if err != nil {
		return nil, err
	}
	if r.Network != nil && t.Warn != nil {
		for _, note := range r.Network.Notes {
			t.Warn("%s", note)
		}
		// Settings of the whole machine are not switched in silence, and not switched back under somebody else's feet.
		for _, c := range r.Network.Changed {
			t.Warn("%s was %s and is %s now, and stays so: %s; back by: sysctl -w %s=%s", c.Name, c.Old, c.New, c.Why, c.Name, c.Old)
		}
	}
	r.PID, r.Started = p.PID(), time.Now().UTC()
	if err := r.save(); err != nil {
		_ = p.Signal(syscall.SIGKILL)
		_, _ = p.Wait()
		p.Release()
		return nil, errors.Join(err, r.takeDown(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// warner passes on the engine's warnings, but for those of what nobody has asked for.
func (r *Record) warner(t Streams) func(string, ...any) {
	o := &r.Options
	return func(format string, args ...any) {
		switch {
		case t.Warn == nil:
		case o.Seccomp == nil && strings.HasPrefix(format, "linux.seccomp:"):
			// The default profile names calls of other architectures, and of later kernels.
		case !o.limited() && strings.HasPrefix(format, "no limits"): // as whoever has no group has none
		default:
			t.Warn(format, args...)
		}
	}
}

// Keep waits for the box's end, puts it down, and takes down what runs only with a process in it. With Options.Remove
// nothing is left.
func (r *Record) Keep(ctx context.Context, p *container.Process) (Exit, error) {
	ctx = context.WithoutCancel(ctx) // what has been started has to be ended, whatever happens
	exit, err := r.await(ctx, p)
	p.Release()
	if err != nil && exit.Finished.IsZero() {
		return exit, err
	}
	return exit, errors.Join(err, r.settle(exit))
}

// await waits for the box's end, and takes down what runs only with a process in it.
func (r *Record) await(ctx context.Context, p *container.Process) (Exit, error) {
	if r.staysEnded() { // it was asked to while it was being started, when there was nobody to signal
		_ = p.Signal(syscall.SIGKILL) // it may have ended: Wait tells
	}
	stopRelay, stopWatch, stopHealth := r.relayPorts(ctx), r.watchMemory(ctx), r.watchHealth(ctx)
	status, err := p.Wait()
	stopRelay()
	stopHealth()
	told := stopWatch()
	if err != nil {
		return Exit{}, err
	}
	exit := Exit{Status: ExitStatus(status), OOMKilled: r.wasOOMKilled(), Finished: time.Now().UTC()}
	if exit.OOMKilled && !told {
		r.tell("oom")
	}
	err = r.takeDown(ctx)
	ran := exit.Finished.Sub(r.Started).Round(time.Second)
	r.tell("die", "exitCode", strconv.Itoa(exit.Status), "execDuration", strconv.Itoa(int(ran/time.Second)))
	return exit, err
}

// settle puts the box's end down.
func (r *Record) settle(exit Exit) error {
	err := r.putExit(exit)
	if r.Options.Rootfs != "" || r.Options.Remove {
		err = errors.Join(err, r.home.removeData(r.ID, true))
	}
	if r.Options.Remove {
		err = errors.Join(err, r.Discard())
	}
	return err
}

// ExitStatus is how a process ended, as a shell has it.
func ExitStatus(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

func (r *Record) wasOOMKilled() bool {
	c, err := r.Container()
	if err != nil {
		return false
	}
	g, err := c.Cgroup()
	if err != nil || g == nil {
		return false
	}
	n, err := g.OOMKills()
	return err == nil && n > 0
}

// watchMemory tells of each time that the box runs out of memory.
func (r *Record) watchMemory(ctx context.Context) (stop func() (told bool)) {
	c, err := r.Container()
	if err != nil {
		return func() bool { return false }
	}
	g, err := c.Cgroup()
	if err != nil || g == nil {
		return func() bool { return false }
	}
	ctx, cancel := context.WithCancel(ctx)
	events, err := g.WatchOOM(ctx)
	if err != nil { // no memory controller, it may be
		cancel()
		return func() bool { return false }
	}
	// Version 1 tells of each time, perhaps before somebody was killed. Version 2 tells of that, and of the kill after it.
	_, tellsOnce := g.Paths()["memory"]
	done := make(chan bool)
	go func() {
		told, kills := false, uint64(0)
		for e := range events {
			if tellsOnce || e.OOMKills > kills {
				r.tell("oom")
				told = true
			}
			kills = e.OOMKills
		}
		done <- told
	}()
	return func() bool {
		cancel()
		return <-done
	}
}

// relayPorts carries connections of the host's own programs to published ports, as long as the box runs.
func (r *Record) relayPorts(ctx context.Context) (stop func()) {
	a := r.Network
	if a == nil || len(a.Sockets) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A relay that breaks leaves what comes from elsewhere, which the kernel carries.
		_ = a.Relay(ctx, a.Sockets, nil)
	}()
	return func() {
		cancel()
		<-done
		a.CloseSockets()
	}
}

// takeDown removes what the kernel holds of a box: processes, cgroup, link. All of it may be gone already.
func (r *Record) takeDown(ctx context.Context) error {
	var errs []error
	c, err := r.Container()
	switch {
	case err == nil:
		errs = append(errs, c.Delete(ctx, true))
	case !errors.Is(err, container.ErrNotFound):
		errs = append(errs, err)
	}
	if r.Network != nil {
		if err := network.Detach(ctx, r.Network); err != nil {
			errs = append(errs, err)
		} else {
			r.Network = nil
		}
	}
	return errors.Join(errs...)
}

// Discard removes all that there is of a box that does not run. The record goes last, so that it can be tried again.
func (r *Record) Discard() error {
	err := r.discard()
	if err == nil {
		r.tell("destroy")
	}
	return err
}

func (r *Record) discard() error {
	if err := r.takeDown(context.Background()); err != nil {
		return err
	}
	if err := r.home.removeData(r.ID, false); err != nil {
		return err
	}
	if r.Options.Image != "" {
		store, err := r.home.Images()
		if err != nil {
			return err
		}
		if err := store.Release(r.ID); err != nil {
			return err
		}
	}
	return os.RemoveAll(r.home.runFolder(r.ID))
}
