package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"tandem/internal/lock"
	"tandem/internal/process"
)

// Hold makes a box that was made ready to be started, later and by others (Begin).
func (r *Record) Hold() error {
	r.Keeper, r.Options.Detach = Keeper{}, true
	return r.save()
}

// Begin starts a box that has ended, or was never started, with a keeper of its own. One that runs is left alone.
func (r *Record) Begin(ctx context.Context, how Handover) error {
	if err := r.awaitStart(ctx); err != nil {
		return err
	}
	unlock, err := r.lockBegin()
	if err != nil {
		return err
	}
	defer unlock()
	return r.begin(ctx, how)
}

// awaitStart waits for who makes the box, or starts it: it runs then, or does not come to.
func (r *Record) awaitStart(ctx context.Context) error {
	for r.isStarting() {
		// That it runs wakes nobody who waits for its keeper: look again now and then.
		short, cancel := context.WithTimeout(ctx, followEvery)
		_ = r.Keeper.Wait(short)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.reload(); err != nil {
			return err
		}
	}
	return nil
}

// lockBegin waits for who starts the box, keeps others from that, and reads the record as it is then. ErrNotFound is a box
// that was removed.
func (r *Record) lockBegin() (unlock func(), err error) {
	unlock, err = r.lockFile("begin.lock")
	if err == nil {
		if err = r.reload(); err != nil {
			unlock()
		}
	}
	return unlock, err
}

func (r *Record) lockFile(name string) (unlock func(), err error) {
	unlock, err = lock.File(r.file(name))
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %s", ErrNotFound, r.Name)
	}
	return unlock, err
}

// begin is Begin, with the lock held.
func (r *Record) begin(ctx context.Context, how Handover) error {
	switch r.Status() {
	case Running, Restarting:
		return nil
	case Paused:
		return fmt.Errorf("start %s: it is paused: tandem unpause %s", r.Name, r.Name)
	case Dead:
		if err := r.takeDown(ctx); err != nil {
			return err
		}
	}
	if err := r.Keeper.Wait(ctx); err != nil { // the last one may be about to tidy up
		return err
	}
	if err := r.reload(); err != nil { // it may have been removed with it
		return err
	}
	before, began := r.Exit, r.Started
	if err := r.anew(); err != nil {
		return err
	}
	r.handover = how
	if err := r.detach(ctx); err != nil {
		failed := r.change(func(now *Record) { now.Keeper, now.Started = Keeper{}, began })
		if before != nil && failed == nil {
			failed = r.putExit(*before)
		}
		return errors.Join(err, failed)
	}
	return r.reload()
}

// anew makes the record that of a box that is being started.
func (r *Record) anew() error {
	self, err := process.Self()
	if err != nil {
		return err
	}
	// Who has waited for its last end has the old file open.
	fresh := r.file(exitFile) + ".new"
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		return err
	}
	if err := os.Rename(fresh, r.file(exitFile)); err != nil {
		return err
	}
	if err := os.Remove(r.file(stopFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return r.change(func(now *Record) {
		now.Exit, now.LastExit, now.Restarts, now.Keeper, now.Options.Detach = nil, nil, 0, self, true
		now.Started, now.Health = time.Time{}, startHealth(now.Healthcheck)
	})
}

func (r *Record) reload() error {
	now, err := r.home.load(r.ID)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrNotFound, r.Name)
	}
	*r = *now
	return nil
}

// Rename gives the box another name.
func (r *Record) Rename(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	unlock, err := r.home.lock()
	if err != nil {
		return err
	}
	defer unlock()
	list, err := r.home.List()
	if err != nil {
		return err
	}
	if name == r.Name {
		return fmt.Errorf("%w: it is called %q already", ErrTaken, name)
	}
	if _, err := freeName(name, list); err != nil {
		return err
	}
	old := r.Name
	if err := r.change(func(now *Record) { now.Name = name }); err != nil {
		return err
	}
	r.tell("rename", "oldName", old)
	return nil
}

// Update changes the box's limits, of what runs at once. change is given those that it has, and gives those that it shall
// have.
func (r *Record) Update(ctx context.Context, change func(Limits, RestartPolicy) (Limits, RestartPolicy)) error {
	unlock, err := r.lockFile("update.lock") // or two who change different ones would each put back what the other has changed
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.reload(); err != nil {
		return err
	}
	limits, restart := change(r.Options.Limits, r.Options.Restart)
	if err := limits.Check(); err != nil {
		return err
	}
	if restart.Name != "" && r.Options.Remove {
		return wrong("--restart %s: %s has --rm, and would be gone", restart, r.Name)
	}
	if s := r.Status(); (s == Running || s == Paused) && limits != r.Options.Limits {
		c, err := r.running()
		if err != nil {
			return err
		}
		if err := c.Update(ctx, limits.resources()); err != nil {
			return err
		}
	}
	err = r.change(func(now *Record) { now.Options.Limits, now.Options.Restart = limits, restart })
	if err == nil {
		r.tell("update")
	}
	return err
}

// Again stops the box and starts it once more.
func (r *Record) Again(ctx context.Context, s syscall.Signal, limit time.Duration) error {
	if err := r.awaitStart(ctx); err != nil {
		return err
	}
	unlock, err := r.lockBegin()
	if err != nil {
		return err
	}
	defer unlock()
	if status := r.Status(); status != Exited && status != Dead {
		if err := r.end(ctx, s, limit); err != nil {
			return err
		}
		if err := r.reload(); err != nil {
			return err
		}
	}
	if err := r.begin(ctx, Handover{}); err != nil {
		return err
	}
	r.tell("restart")
	return nil
}
