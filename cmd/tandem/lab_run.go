package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tandem/guest/agent"
	"tandem/lab"
)

// statusInterrupted is a shell's status for a command that the interrupt key ended.
const statusInterrupted = 128 + int(unix.SIGINT)

// forwarded are the signals that reach the command in the lab in place of this process.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT}

// runInLab runs a command in the lab as if it were this process: its streams, terminal and signals. The error is an
// exitStatus if the command ran. ctx ends the start of a lab; a command that runs gets the signals instead.
func runInLab(ctx context.Context, o lab.Options, s *status, c lab.Command) error {
	// From here on no signal may end this process without the command hearing of it.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)

	session, err := lab.Connect(ctx, o)
	s.done()
	if err != nil {
		if ctx.Err() != nil {
			return exitStatus(statusInterrupted)
		}
		return err
	}
	defer session.Close()
	if ctx.Err() != nil {
		return exitStatus(statusInterrupted)
	}

	running, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	if sameStream(c.Stdout, c.Stderr) {
		c.Stderr = c.Stdout // one stream in the lab too, so that the order is kept
	}
	restore := func() {}
	if c.TTY {
		c.Stderr = nil
		c.Rows, c.Cols = terminalSize(c.Stdout)
		restore, err = rawTerminal(c.Stdin)
		if err != nil {
			return err
		}
	}
	defer restore()
	p, err := session.Start(running, c)
	if err != nil {
		return labError(err)
	}
	done := make(chan struct{})
	defer close(done)
	go forward(signals, p, kill, done)
	if c.TTY {
		go followSize(c.Stdout, p, done)
	}
	err = p.Wait()
	restore()
	return labError(err)
}

// labError makes an exit status of a command's error.
func labError(err error) error {
	if err == nil {
		return nil
	}
	var exit *agent.ExitError
	if !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "tandem: %v\n", err)
	}
	return exitStatus(agent.ExitStatus(err))
}

// impatience is how many times a user asks a command to end before it is killed.
const impatience = 3

// forward sends the signals to the command.
func forward(signals <-chan os.Signal, p *lab.Process, kill func(), done <-chan struct{}) {
	asked := 0
	for {
		select {
		case s := <-signals:
			if s == unix.SIGINT || s == unix.SIGTERM {
				if asked++; asked == impatience {
					kill()
					continue
				}
			}
			// In a goroutine: a lab that hangs must not keep the next signal, and the last resort, from its turn.
			go func() { _ = p.SignalGroup(s) }()
		case <-done:
			return
		}
	}
}

// resizer is a command with a terminal, in the lab or in a guest.
type resizer interface {
	Resize(rows, cols uint16) error
}

// followSize keeps the command's terminal as large as this one.
func followSize(terminal any, p resizer, done <-chan struct{}) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			if rows, cols := terminalSize(terminal); rows != 0 {
				_ = p.Resize(rows, cols)
			}
		case <-done:
			return
		}
	}
}

// terminalSize is 0, 0 for what is not a terminal.
func terminalSize(stream any) (rows, cols uint16) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, 0
	}
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return uint16(h), uint16(w)
}

// rawTerminal hands every key to the command: the lab's terminal makes signals and lines of them. What is not a
// terminal stays as it is.
func rawTerminal(stream any) (restore func(), err error) {
	if !isTerminal(stream) {
		return func() {}, nil
	}
	fd := int(stream.(*os.File).Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// sameStream tells whether two streams are one file.
func sameStream(a, b any) bool {
	fa, ok := a.(*os.File)
	if !ok {
		return false
	}
	fb, ok := b.(*os.File)
	if !ok {
		return false
	}
	ia, errA := fa.Stat()
	ib, errB := fb.Stat()
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}
