package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Console is a guest's console on a terminal, or on files that stand for one.
type Console struct {
	in, out *os.File
	saved   *term.State // nil if in is no terminal
	guard   *guardian

	keys  keys
	leave chan struct{} // closed when the user asked to leave

	// A pipe whose write end Close closes, which ends a Read that waits.
	wake    *os.File
	wakeUp  *os.File
	waiting sync.RWMutex // held for reading by those who use wake
	closed  bool         // wake is closed

	closeOnce sync.Once
	closeErr  error
}

// Open uses in and out as a guest's console: if in is a terminal it is in raw
// mode until Close. Neither file is closed.
func Open(in, out *os.File) (*Console, error) {
	c := &Console{in: in, out: out, leave: make(chan struct{})}
	var err error
	if c.wake, c.wakeUp, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("console: open: %w", err)
	}
	if !term.IsTerminal(int(in.Fd())) {
		return c, nil
	}
	c.guard = newGuardian(in)
	if c.saved, err = term.MakeRaw(int(in.Fd())); err != nil {
		c.Close()
		return nil, fmt.Errorf("console: set raw mode: %w", err)
	}
	return c, nil
}

// Terminal tells whether the input is a terminal.
func (c *Console) Terminal() bool { return c.saved != nil }

// Reader gives what the guest should read. It ends when the input does, when the
// user leaves, and with Close.
func (c *Console) Reader() io.Reader { return reader{c} }

// Writer shows what the guest wrote.
func (c *Console) Writer() io.Writer { return c.out }

// Leave is closed when the user asks to leave (Ctrl-a x).
func (c *Console) Leave() <-chan struct{} { return c.leave }

// Size is the window's size in character cells; 0, 0 if there is no terminal.
func (c *Console) Size() (columns, rows int) {
	if !c.Terminal() {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(c.in.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// Resized calls f with the size now and after each change, until ctx ends.
func (c *Console) Resized(ctx context.Context, f func(columns, rows int)) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	defer signal.Stop(changed)
	for {
		f(c.Size())
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Close restores the terminal. It may be called more than once.
func (c *Console) Close() error {
	c.closeOnce.Do(func() {
		if c.saved != nil {
			if err := term.Restore(int(c.in.Fd()), c.saved); err != nil {
				c.closeErr = fmt.Errorf("console: restore the terminal: %w", err)
			}
		}
		c.guard.dismiss()
		c.wakeUp.Close()
		c.waiting.Lock()
		defer c.waiting.Unlock()
		c.closed = true
		c.wake.Close()
	})
	return c.closeErr
}

// reader is the Console's input less what is meant for the monitor.
type reader struct{ c *Console }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := c.waitInput(); err != nil {
			return 0, err
		}
		n, err := c.in.Read(p)
		if !c.Terminal() {
			return n, err
		}
		kept, help, left := c.keys.filter(p[:n])
		if help {
			_, _ = io.WriteString(c.out, helpText)
		}
		if left {
			close(c.leave)
			return kept, io.EOF
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

// waitInput waits until there is something to read, or for Close: io.EOF. A Read
// of a terminal cannot be called off once it has begun, and would take the first
// key meant for the shell.
func (c *Console) waitInput() error {
	c.waiting.RLock()
	defer c.waiting.RUnlock()
	if c.keys.left || c.closed {
		return io.EOF
	}
	fds := []unix.PollFd{
		{Fd: int32(c.in.Fd()), Events: unix.POLLIN},
		{Fd: int32(c.wake.Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("console: wait for input: %w", err)
		case fds[1].Revents != 0:
			return io.EOF
		case fds[0].Revents != 0:
			return nil
		}
	}
}
