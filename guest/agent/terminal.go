package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: the command has the slave, the agent the master.
type terminal struct {
	master *os.File
	// slave is held while the command runs: when nobody holds it, reading the master fails, and a program may close its
	// terminal for a moment and open /dev/tty anew.
	slave *os.File
}

func openTerminal(size unix.Winsize, owner uint32) (*terminal, error) {
	// O_NONBLOCK for Go's poller, so that closing the master ends a Read of it.
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t := &terminal{master: os.NewFile(uintptr(master), "/dev/ptmx")}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.close()
		return nil, fmt.Errorf("unlock terminal: %w", err)
	}
	// TIOCGPTPEER opens the slave of this very master, in whatever devpts instance it lies and wherever that is mounted.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.close()
		return nil, fmt.Errorf("open terminal's slave: %w", errno)
	}
	t.slave = os.NewFile(slave, "tty")
	if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &size); err != nil {
		t.close()
		return nil, fmt.Errorf("set terminal size: %w", err)
	}
	if err := unix.Fchown(int(slave), int(owner), -1); err != nil {
		t.close()
		return nil, fmt.Errorf("give the terminal to uid %d: %w", owner, err)
	}
	return t, nil
}

func (t *terminal) close() {
	t.master.Close()
	t.closeSlave()
}

func (t *terminal) closeSlave() {
	if t.slave != nil {
		t.slave.Close()
	}
}

// control runs an ioctl on the master, which may have been closed.
func (t *terminal) control(ioctl func(fd int) error) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = ioctl(int(fd)) }); err != nil {
		return err
	}
	return result
}

func (t *terminal) resize(size unix.Winsize) error {
	return t.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size) })
}

// foreground is the process group that the terminal's keys send signals to.
func (t *terminal) foreground() (group int, err error) {
	err = t.control(func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return group, err
}

// endOfFile is the character that ends the terminal's input.
func (t *terminal) endOfFile() byte {
	end := byte('D' - '@') // ctrl-D
	t.control(func(fd int) error {
		termios, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			end = termios.Cc[unix.VEOF]
		}
		return err
	})
	return end
}
