package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminal joins this process's own terminal and that of a command that it stays with:
//
//	user's terminal ── stdin, stdout ── tandem-oci ── master ═ slave ── command
//	     (raw)
//
// The user's is made raw: keys such as Ctrl-C are then bytes like any other, and it is the slave that makes signals of
// them. The zero terminal, of a command without one, does nothing.
type terminal struct {
	master  *os.File
	restore *term.State // of the user's terminal, nil if it was not made raw
	copied  chan struct{}
}

// newTerminal is for a process that this one stays with. A terminal that goes elsewhere needs nobody to pass on its
// bytes.
func newTerminal(p *specs.Process, consoleSocket string) (*terminal, error) {
	if consoleSocket != "" && (p == nil || !p.Terminal) {
		return nil, errNoTerminal
	}
	return &terminal{}, nil
}

var errNoTerminal = errors.New("--console-socket, and the process has no terminal to send there")

// checkDetachedTerminal is for a process that this one does not stay with.
func checkDetachedTerminal(p *specs.Process, consoleSocket string) error {
	terminal := p != nil && p.Terminal
	switch {
	case terminal && consoleSocket == "":
		return errors.New("the process has a terminal, and nobody would hold its other end: give --console-socket")
	case !terminal && consoleSocket != "":
		return errNoTerminal
	}
	return nil
}

// attach takes the master, before the command executes. It may block no thread, as the command's end must be able to
// stop its reader.
func (t *terminal) attach(master *os.File) error {
	defer master.Close()
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("terminal: duplicate its descriptor: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("terminal: %w", err)
	}
	t.master = os.NewFile(uintptr(fd), master.Name())
	t.resize()
	return nil
}

// resize gives the command's terminal the size of the user's.
func (t *terminal) resize() {
	if t.master == nil {
		return
	}
	size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return // no terminal here, so that the other keeps its size
	}
	if raw, err := t.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	}
}

// relay begins to copy both ways.
func (t *terminal) relay() {
	if t.master == nil {
		return
	}
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		if saved, err := term.MakeRaw(in); err == nil {
			t.restore = saved
		}
	}
	go func() { _, _ = io.Copy(t.master, os.Stdin) }() // ends with this process
	t.copied = make(chan struct{})
	go func() {
		defer close(t.copied)
		_, _ = io.Copy(os.Stdout, t.master) // until EIO: nobody has the slave any more
	}()
}

// drain is how long a terminal may stay open by what an ended command has left running.
const drain = 200 * time.Millisecond

// maxRest is more than a terminal holds.
const maxRest = 1 << 20

// copyRest copies what the terminal holds by now, and waits for no more: where others keep the machine busy, or the user's
// terminal is slow, that may be the command's last words, for which there was no time any more.
func (t *terminal) copyRest() {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		var buf [4096]byte
		for copied := 0; copied < maxRest; {
			n, err := unix.Read(int(fd), buf[:])
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n == 0 {
				return
			}
			if _, err := os.Stdout.Write(buf[:n]); err != nil {
				return
			}
			copied += n
		}
	})
}

// close waits for the last of the output, and gives the user's terminal back as it was.
func (t *terminal) close() {
	if t.master == nil {
		return
	}
	if t.copied != nil {
		_ = t.master.SetReadDeadline(time.Now().Add(drain))
		<-t.copied
		t.copyRest()
	}
	if t.restore != nil {
		_ = term.Restore(int(os.Stdin.Fd()), t.restore)
	}
	t.master.Close()
}
