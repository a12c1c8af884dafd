package guestinit

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
	"tandem/guest/program"
)

// openConsole makes the console the standard streams, also for Go's own last words.
func openConsole() {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return // the kernel found none either, or has opened it already
	}
	for standard := range 3 {
		if fd != standard {
			unix.Dup3(fd, standard, 0)
		}
	}
	if fd > 2 {
		unix.Close(fd)
	}
}

// consoleDevice is the terminal behind /dev/console, which itself cannot be a controlling terminal.
func consoleDevice() string {
	return activeConsole("/sys/class/tty/console/active")
}

// activeConsole reads the kernel's list of consoles. /dev/console is the last of them.
func activeConsole(file string) string {
	list, _ := os.ReadFile(file)
	names := strings.Fields(string(list))
	if len(names) == 0 {
		return "/dev/console"
	}
	return filepath.Join("/dev", names[len(names)-1])
}

// restartInterval is the least time between two starts, for a program that ends at once.
const restartInterval = time.Second

// runConsole runs the console's program until it ends, and again if the Config says to stay.
func (p *pid1) runConsole(c *config.Console) error {
	for {
		again := time.After(restartInterval)
		if err := p.runProgram(c); err != nil {
			// Another try would fail as well.
			return fmt.Errorf("console: %w", err)
		}
		if c.OnExit != config.Stay {
			p.end(cmp.Or(c.OnExit, config.PowerOff))
			return nil
		}
		<-again
	}
}

// runProgram runs it once, in a session that the terminal controls: this is what job control and ctrl-C need.
func (p *pid1) runProgram(c *config.Console) error {
	tty, err := openTerminal(cmp.Or(c.Device, consoleDevice()))
	if err != nil {
		return err
	}
	defer tty.Close()
	if c.Rows != 0 && c.Cols != 0 {
		reportAll(unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: c.Rows, Col: c.Cols}))
	}
	dir := homeOr("/")
	file, err := program.Find(c.Command[0], p.env, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Command[0], err)
	}
	l, err := startLeader(p.processes, tty, file, c.Command, p.env, dir)
	if err != nil {
		return fmt.Errorf("start the session's leader: %w", err)
	}
	defer l.close()
	status, err := l.wait()
	if err != nil {
		return fmt.Errorf("%s: %w", file, program.StartError(err))
	}
	drain(tty)
	if status.Signaled() {
		report("%s: %v", file, status.Signal())
	}
	return nil
}

// openTerminal opens a terminal that is to be a program's. O_NONBLOCK: a serial line without a carrier would block the
// open.
func openTerminal(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	unix.SetNonblock(fd, false)
	return os.NewFile(uintptr(fd), path), nil
}

func homeOr(dir string) string {
	if info, err := os.Stat("/root"); err == nil && info.IsDir() {
		return "/root"
	}
	return dir
}
