package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"tandem/internal/process"

	"golang.org/x/sys/unix"
)

// connect gets a connection to a lab that is ready, and starts one first if there is none. The connection is past the
// replies, except for wantState.
func connect(ctx context.Context, o Options, w want) (*lineConn, State, error) {
	if os.Getenv(Variable) != "" {
		return nil, State{}, ErrInLab
	}
	d, err := openDir(o.Dir)
	if err != nil {
		return nil, State{}, err
	}
	o.Dir = string(d)
	var mine *child
	for range maxStarts {
		conn, state, err := d.ask(ctx, w, o.Progress)
		if err == nil {
			return conn, state, nil
		}
		if !errors.Is(err, ErrNotRunning) && !errors.Is(err, errGone) {
			return nil, State{}, err
		}
		if mine != nil {
			if err := mine.verdict(ctx, d); err != nil {
				return nil, State{}, err
			}
		}
		if mine, err = d.start(ctx, o); err != nil {
			return nil, State{}, err
		}
	}
	return nil, State{}, fmt.Errorf("%d labs in a row %w", maxStarts, errGone)
}

// maxStarts is how often a lab may go down just as it is wanted: one that is idle, or that somebody ends, may.
const maxStarts = 20

// ask gets a connection to a lab when that is ready.
func (d dir) ask(ctx context.Context, w want, progress func(string)) (*lineConn, State, error) {
	conn, state, err := d.dial(ctx, w)
	if err != nil {
		return nil, State{}, err
	}
	if state, err = conn.awaitReady(ctx, state, progress); err != nil {
		conn.Close()
		return nil, State{}, err
	}
	return conn, state, nil
}

// errGone is a lab that was on its way down, for a reason of its own, when it was asked for something.
var errGone = errors.New("went down meanwhile")

// dial asks the supervisor for something and returns its first reply. No supervisor is ErrNotRunning.
func (d dir) dial(ctx context.Context, w want) (*lineConn, State, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.file(socketFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, State{}, ErrNotRunning
	}
	if err != nil {
		return nil, State{}, err
	}
	conn := newLineConn(c)
	defer closeOn(ctx, conn)()
	var state State
	if err = conn.writeLine(request{protocolVersion, w}); err == nil {
		state, err = conn.readReply()
	}
	if err != nil {
		conn.Close()
		return nil, State{}, goneError(ctx, err)
	}
	return conn, state, nil
}

// awaitReady reads states until the lab is ready.
func (c *lineConn) awaitReady(ctx context.Context, state State, progress func(string)) (State, error) {
	defer closeOn(ctx, c)()
	step := ""
	for state.Phase == Starting {
		if state.Step != step && progress != nil {
			progress(state.Step)
		}
		step = state.Step
		var err error
		if state, err = c.readReply(); err != nil {
			return state, goneError(ctx, err)
		}
	}
	switch {
	case state.Phase == Ready:
		return state, nil
	case state.Error != "":
		return state, errors.New(state.Error)
	}
	return state, errGone
}

// goneError turns the end of a connection into what it means.
func goneError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return errGone
	}
	return err
}

// awaitGone returns when the supervisor that there was has ended.
func (d dir) awaitGone(ctx context.Context) error {
	f, err := lock(ctx, d.file(supervisorFile), os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// stopLimit is how long a supervisor that has been told to stop may take.
const stopLimit = 15 * time.Second

// down ends the lab and removes what is left of it.
func (d dir) down(ctx context.Context) error {
	stop, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	running, err := d.stop(stop)
	if err != nil && (ctx.Err() != nil || stop.Err() == nil) {
		return err
	}
	if err != nil { // it hangs
		r, err := d.readRecord()
		if err != nil {
			return err
		}
		// Its QEMU dies with it.
		if err := kill(ctx, r.Supervisor); err != nil {
			return err
		}
	}
	if err := d.tidy(ctx); err != nil {
		return err
	}
	if !running {
		return ErrNotRunning
	}
	return nil
}

// stop tells the supervisor to go down, and waits until it has ended. It tells whether there was one.
func (d dir) stop(ctx context.Context) (running bool, err error) {
	conn, state, err := d.dial(ctx, wantStop)
	switch {
	case errors.Is(err, ErrNotRunning), errors.Is(err, errGone):
		return false, d.awaitGone(ctx)
	case err != nil:
		return true, err
	}
	defer conn.Close()
	// The lock goes a moment before the process does, and so does the connection.
	supervisor, err := process.Of(state.Supervisor)
	if err != nil {
		return true, d.awaitGone(ctx)
	}
	if err := conn.drain(ctx); err != nil {
		return true, err
	}
	if err := d.awaitGone(ctx); err != nil {
		return true, err
	}
	return true, supervisor.Wait(ctx)
}

// drain reads until the other end closes the connection.
func (c *lineConn) drain(ctx context.Context) error {
	defer closeOn(ctx, c)()
	_, err := io.Copy(io.Discard, c)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, unix.ECONNRESET) {
		err = nil
	}
	return err
}

// tidy removes what a supervisor that is gone has left, if no other one has come.
func (d dir) tidy(ctx context.Context) error {
	starting, err := lock(ctx, string(d), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer starting.Close()
	supervisor, err := tryLock(d.file(supervisorFile), os.O_RDWR|os.O_CREATE)
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer supervisor.Close()
	if err := d.clean(ctx, supervisor); err != nil {
		return err
	}
	if err := d.forgetFailures(0); err != nil {
		return err
	}
	d.remove()
	return nil
}

// closeOn closes c when ctx ends, which is what ends a Read or Write of it. The function that it returns calls that off.
func closeOn(ctx context.Context, c io.Closer) func() bool {
	return context.AfterFunc(ctx, func() { c.Close() })
}
