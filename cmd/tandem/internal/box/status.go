package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container"
)

// Status is what a box is doing.
type Status string

// What a box may be doing.
const (
	Created    Status = "created" // it is being made, or was never started
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting" // it has ended, and its keeper will start it anew
	Exited     Status = "exited"
	Dead       Status = "dead" // its keeper is gone, and with it the exit status
)

// Status asks the kernel.
func (r *Record) Status() Status {
	switch {
	case r.Exit != nil:
		return Exited
	case r.Keeper == Keeper{}:
		return Created
	case !r.Keeper.Alive():
		return Dead
	}
	c, err := r.Container()
	if err != nil && r.LastExit != nil {
		return Restarting
	}
	if err != nil {
		return r.betweenTimes()
	}
	state, err := c.State()
	switch {
	case err != nil:
		return r.betweenTimes()
	case state.Status == container.StatePaused:
		return Paused
	case state.Status == specs.StateRunning:
		return Running
	}
	return r.betweenTimes()
}

// betweenTimes is what a box is doing that its keeper is about to start, or has yet to put down the end of.
func (r *Record) betweenTimes() Status {
	if r.Started.IsZero() {
		return Created
	}
	return Running
}

// Container is the engine's.
func (r *Record) Container() (*container.Container, error) { return r.home.Engine().Load(r.ID) }

// running is the engine's container of a box that runs.
func (r *Record) running() (*container.Container, error) {
	c, err := r.Container()
	if errors.Is(err, container.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s", ErrStopped, r.Name)
	}
	return c, err
}

// putExit tells all who wait how the box ended.
func (r *Record) putExit(e Exit) error {
	r.Exit, r.PID = &e, 0
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(r.file(exitFile), text, 0o600), r.save())
}

// Wait waits for the box's end, also if it is removed or started again then, and tells how it ended. It returns when the
// keeper is done.
func (r *Record) Wait(ctx context.Context) (Exit, error) {
	f, err := os.Open(r.file(exitFile))
	if err != nil {
		return Exit{}, fmt.Errorf("%w: %s", ErrNotFound, r.Name)
	}
	defer f.Close()
	if r.Keeper == (Keeper{}) && r.Exit == nil {
		return Exit{}, fmt.Errorf("%w: %s was never started", ErrStopped, r.Name)
	}
	if err := r.awaitEnd(ctx, f); err != nil {
		return Exit{}, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return Exit{}, err
	}
	var e Exit
	if len(text) == 0 {
		return e, fmt.Errorf("container %s is dead: its keeper (process %d) was killed, and the exit status is lost; tandem system gc", r.Name, r.Keeper.PID)
	}
	return e, json.Unmarshal(text, &e)
}

// awaitEnd waits for the end of the life that an exit file is of. Who hands the box over meanwhile is waited for no longer
// than that; who starts it again makes a new file.
func (r *Record) awaitEnd(ctx context.Context, exit *os.File) error {
	for keeper := r.Keeper; ; {
		if err := keeper.Wait(ctx); err != nil {
			return err
		}
		now, err := r.home.load(r.ID)
		if err != nil || now.Keeper == keeper || renamed(exit, r.file(exitFile)) {
			return nil // removed, ended, or started again
		}
		keeper = now.Keeper // a detached one's: it was handed over
	}
}
