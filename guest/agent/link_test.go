package agent

import (
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// serialLink is two pseudo-terminals, whose masters are wired to each other as a null modem does:
//
//	host -- slave | master <--> master | slave -- guest
//
// What a real line adds to a stream of bytes is all there: echo and line editing until raw mode is set, output
// processing, a small buffer.
func serialLink(t *testing.T) (host, guest io.ReadWriteCloser) {
	t.Helper()
	a, b := openLine(t), openLine(t)
	wire(t, a, b)
	makeRaw(t, a.slave)
	makeRaw(t, b.slave)
	return a.slave, b.slave
}

func openLine(t *testing.T) *terminal {
	t.Helper()
	line, err := openTerminal(unix.Winsize{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The ends of a line belong to a poller, too: closing them ends a Read.
	fd, err := unix.FcntlInt(line.slave.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	line.slave.Close()
	line.slave = os.NewFile(uintptr(fd), "line")
	t.Cleanup(line.close)
	return line
}

// wire carries bytes between two masters until the test ends.
func wire(t *testing.T, a, b *terminal) {
	t.Helper()
	var copies sync.WaitGroup
	for _, pair := range [][2]*terminal{{a, b}, {b, a}} {
		copies.Go(func() { io.Copy(onlyWriter{pair[0].master}, onlyReader{pair[1].master}) })
	}
	t.Cleanup(func() {
		a.close()
		b.close()
		copies.Wait()
	})
}

// makeRaw is what guest/init does with a serial port.
func makeRaw(t *testing.T, line *os.File) {
	t.Helper()
	raw, err := line.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		termios, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		termios.Iflag, termios.Oflag, termios.Lflag = 0, 0, 0
		termios.Cc[unix.VMIN] = 1
		if err := unix.IoctlSetTermios(int(fd), unix.TCSETS, termios); err != nil {
			t.Fatal(err)
		}
	})
}
