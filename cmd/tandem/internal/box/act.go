package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container"
)

// Signal sends a signal to the box's first process.
func (r *Record) Signal(ctx context.Context, s syscall.Signal) error {
	c, err := r.running()
	if err == nil {
		err = c.Signal(ctx, s, false)
	}
	if errors.Is(err, container.ErrNotRunning) {
		err = fmt.Errorf("%w: %s", ErrStopped, r.Name)
	}
	if err == nil {
		r.tell("kill", "signal", strconv.Itoa(int(s)))
	}
	return err
}

// Kill sends a signal as a user's. One that is to end the box ends it for good, whatever its restart policy is.
func (r *Record) Kill(ctx context.Context, s, stop syscall.Signal) error {
	if s == unix.SIGKILL || s == stop {
		if err := r.stayEnded(); err != nil {
			return err
		}
	}
	return r.Signal(ctx, s)
}

// Pause freezes the box's processes.
func (r *Record) Pause(ctx context.Context) error {
	c, err := r.running()
	if err != nil {
		return err
	}
	if r.Status() == Paused {
		return fmt.Errorf("container is paused already: %s", r.Name)
	}
	if err := c.Pause(ctx); err != nil {
		return err
	}
	r.tell("pause")
	return nil
}

// Unpause lets them go on.
func (r *Record) Unpause(ctx context.Context) error {
	c, err := r.running()
	if err != nil {
		return err
	}
	if r.Status() != Paused {
		return fmt.Errorf("container is not paused: %s", r.Name)
	}
	if err := c.Resume(ctx); err != nil {
		return err
	}
	r.tell("unpause")
	return nil
}

// Stop asks the box to end by a signal, and kills it if it has not after the time, which is its own if it is negative. It
// returns when the keeper is done. A box that does not run is stopped already.
func (r *Record) Stop(ctx context.Context, s syscall.Signal, limit time.Duration) error {
	if r.isStarting() { // whoever starts it comes first
		unlock, err := r.lockBegin()
		if err != nil {
			return err
		}
		unlock()
	}
	return r.end(ctx, s, limit)
}

// isStarting tells whether the box has a keeper that it does not run with yet.
func (r *Record) isStarting() bool { return r.Keeper != Keeper{} && r.Status() == Created }

// end is Stop, of a box that nobody starts but who makes it.
func (r *Record) end(ctx context.Context, s syscall.Signal, limit time.Duration) error {
	if r.isStarting() {
		return r.abort(ctx)
	}
	switch r.Status() {
	case Exited, Created:
		return r.Keeper.Wait(ctx)
	case Dead:
		return fmt.Errorf("container %s is dead, and nobody would put down its end: tandem rm -f %s", r.Name, r.Name)
	}
	if err := r.stayEnded(); err != nil {
		return err
	}
	err := r.stop(ctx, s, limit)
	if err == nil {
		r.tell("stop")
	}
	return err
}

func (r *Record) stop(ctx context.Context, s syscall.Signal, limit time.Duration) error {
	if err := r.Signal(ctx, s); err != nil {
		if errors.Is(err, ErrStopped) {
			return errors.Join(r.wakeKeeper(), r.Keeper.Wait(ctx))
		}
		return err
	}
	if r.Status() == Paused { // it gets the signal when it goes on
		if err := r.Unpause(ctx); err != nil {
			return err
		}
	}
	if limit < 0 {
		limit = time.Duration(r.Options.StopTimeout) * time.Second
	}
	timely, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := r.Keeper.Wait(timely); err == nil || ctx.Err() != nil {
		return err
	}
	return r.kill(ctx)
}

// abort ends a box that is being made: its keeper gives up, or ends it as soon as it runs.
func (r *Record) abort(ctx context.Context) error {
	exit, err := os.Open(r.file(exitFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is gone
	}
	if err != nil {
		return err
	}
	defer exit.Close()
	if err := r.putStop(); err != nil {
		return err
	}
	if r.reload() != nil {
		return nil
	}
	if !r.isStarting() { // its keeper did not see that
		return r.kill(ctx)
	}
	return errors.Join(r.signalKeeper(), r.awaitEnd(ctx, exit))
}

// kill ends the box, and returns when its keeper is done.
func (r *Record) kill(ctx context.Context) error {
	if err := r.stayEnded(); err != nil {
		return err
	}
	err := r.Signal(ctx, unix.SIGKILL)
	if errors.Is(err, ErrStopped) {
		err = r.wakeKeeper()
	}
	if err != nil {
		return err
	}
	if r.Status() == Paused {
		if err := r.Unpause(ctx); err != nil {
			return err
		}
	}
	return r.Keeper.Wait(ctx)
}

// Remove removes a box that does not run; with force it is killed first. Nobody starts it meanwhile.
func (r *Record) Remove(ctx context.Context, force bool) error {
	unlock, err := r.lockBegin()
	if err != nil {
		return err
	}
	defer unlock()
	switch s := r.Status(); {
	case s == Exited:
	case s == Dead:
	case s == Created && r.Keeper == Keeper{}: // it was never started
	case !force:
		return fmt.Errorf("%w: %s; stop it first, or remove it with --force", ErrRunning, r.Name)
	case s == Created:
		if err := r.abort(ctx); err != nil {
			return err
		}
	default:
		if err := r.kill(ctx); err != nil {
			return err
		}
	}
	if err := r.Keeper.Wait(ctx); err != nil { // it may be about to tidy up itself
		return err
	}
	return r.Discard()
}
