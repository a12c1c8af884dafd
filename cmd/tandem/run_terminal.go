package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// boxTerminal joins this process's terminal and that of a command in a container:
//
//	user's terminal ── stdin, stdout ── tandem ── master ═ slave ── command
//	     (raw)
//
// The user's is made raw: keys such as Ctrl-C are then bytes like any other, and it is the slave that makes signals of
// them. For a command without a terminal it does nothing.
type boxTerminal struct {
	in      any // *os.File, of a user's terminal
	out     io.Writer
	reads   bool
	master  *os.File
	restore *term.State // of the user's terminal, nil if it was not made raw
	copied  chan struct{}
	keys    []byte        // that leave it, if there are any
	left    chan struct{} // closed when they were typed

	abandoned atomic.Bool
}

func newBoxTerminal(in io.Reader, out io.Writer, reads bool) *boxTerminal {
	return &boxTerminal{in: in, out: out, reads: reads, left: make(chan struct{})}
}

// attach takes the master, before the command executes.
func (t *boxTerminal) attach(master *os.File) error {
	defer master.Close()
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	// It may block no thread, as the command's end must be able to stop its reader.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("terminal: %w", err)
	}
	t.master = os.NewFile(uintptr(fd), master.Name())
	if t.reads && isTerminal(t.in) {
		if t.restore, err = term.MakeRaw(int(t.in.(*os.File).Fd())); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
	}
	if in, ok := t.in.(*os.File); ok && t.reads {
		go func() { // ends with this process
			if _, err := io.Copy(t.master, &keyReader{r: in, keys: t.keys}); errors.Is(err, errDetach) {
				close(t.left)
			}
		}()
	}
	t.copied = make(chan struct{})
	go func() {
		defer close(t.copied)
		_, err := io.Copy(t.out, t.master) // until EIO: nobody has the slave any more
		if !t.abandoned.Load() {
			drainOutput(t.out, t.master, err)
		}
	}()
	return nil
}

// resize makes the command's terminal as large as the user's.
func (t *boxTerminal) resize() {
	if t.master == nil {
		return
	}
	if rows, cols := terminalSize(t.in); rows != 0 {
		if c, err := t.master.SyscallConn(); err == nil {
			_ = c.Control(func(fd uintptr) {
				_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
			})
		}
	}
}

// terminalDrain is how long a terminal may stay open by what an ended command has left running.
const terminalDrain = 200 * time.Millisecond

// abandon gives the user's terminal back, and reads the command's from now on, so that nothing blocks who writes to it.
func (t *boxTerminal) abandon() {
	t.abandoned.Store(true)
	t.release(0)
	_ = t.master.SetReadDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, t.master) }() // until nobody has the slave any more
}

// close waits for the last of the output, and gives the user's terminal back as it was.
func (t *boxTerminal) close() {
	if t.master == nil {
		return
	}
	t.release(terminalDrain)
	t.master.Close()
}

func (t *boxTerminal) release(drain time.Duration) {
	_ = t.master.SetReadDeadline(time.Now().Add(drain))
	<-t.copied
	if t.restore != nil {
		_ = term.Restore(int(t.in.(*os.File).Fd()), t.restore)
	}
}
