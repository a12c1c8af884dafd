// Package process names processes for good.
//
// A process's number is used again when it has ended, so a number that was written down may be another's by now. Together
// with the time of its start, in clock ticks since boot, it is one process's alone. And a descriptor of a process
// (pidfd_open(2)) holds on to it: what is asked and done by way of that meets this process or none.
//
//	state file: {"pid": 4711, "start": 815}        a process, perhaps gone
//	      │
//	      │ Open: pidfd_open, and only then the start time, which nobody else can have now
//	      ▼
//	descriptor ──── signal it, wait for its end (Await), whoever's child it is
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/kernfile"
)

// ErrGone is a process that has ended.
var ErrGone = errors.New("process has ended")

// ID names a process of this PID namespace.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // starttime, field 22 of /proc/PID/stat, see proc_pid_stat(5)
}

// Of reads a process's name. ErrGone is one that has ended, be it waited for or not.
func Of(pid int) (ID, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := kernfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) { // the second if it ends while it is read
		return ID{}, fmt.Errorf("%s: %w", path, ErrGone)
	}
	if err != nil {
		return ID{}, err
	}
	start, ended, err := parseStat(text)
	if err == nil && ended {
		err = ErrGone
	}
	if err != nil {
		return ID{}, fmt.Errorf("%s: %w", path, err)
	}
	return ID{pid, start}, nil
}

// Self is this process.
func Self() (ID, error) { return Of(os.Getpid()) }

// parseStat finds the start time, and whether the process is a zombie. The program's name, field 2, stands in parentheses
// and may itself hold blanks and parentheses.
func parseStat(text []byte) (start uint64, ended bool, err error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, false, errors.New("no program name")
	}
	fields := bytes.Fields(text[end+1:])
	const startField = 22 - 3 // fields are counted from 1, and what follows the name is field 3
	if len(fields) <= startField {
		return 0, false, fmt.Errorf("%d fields after the program name", len(fields))
	}
	start, err = strconv.ParseUint(string(fields[startField]), 10, 64)
	state := fields[0][0]
	return start, state == 'Z' || state == 'X', err
}

// Alive tells whether it runs.
func (id ID) Alive() bool {
	now, err := Of(id.PID)
	return err == nil && now == id
}

// IsGone tells of an error of pidfd_open(2) that the number is no process's any more. It may be a thread's by now, which Linux
// 6.15 and later tell from a flag that they do not know.
func IsGone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT)
}

// Open returns a descriptor of the process, for pidfd_send_signal(2) and Await. ErrGone is one that has ended.
func (id ID) Open() (*os.File, error) {
	if id.PID <= 0 {
		return nil, fmt.Errorf("process %d: %w", id.PID, ErrGone) // the zero ID is nobody
	}
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if IsGone(err) {
		return nil, fmt.Errorf("process %d: %w", id.PID, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", id.PID, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", id.PID))
	// The descriptor holds on to whoever has the number now; only then is it safe to ask who that is.
	if !id.Alive() {
		f.Close()
		return nil, fmt.Errorf("process %d: %w", id.PID, ErrGone)
	}
	return f, nil
}

// Signal sends a signal to the process that a descriptor is of. ErrGone is one that has ended.
func Signal(pidFD *os.File, s unix.Signal) error {
	conn, err := pidFD.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	if errors.Is(sent, unix.ESRCH) {
		return ErrGone
	}
	return errors.Join(err, os.NewSyscallError("pidfd_send_signal", sent))
}

// Await waits for the end of the process that a descriptor of Open's is of, which is readable from then on.
func Await(ctx context.Context, pidFD *os.File) error {
	conn, err := pidFD.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { pidFD.SetReadDeadline(time.Unix(1, 0)) })()
	err = conn.Read(func(fd uintptr) bool {
		state := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(state, 0)
		return err == nil && n == 1
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Wait waits until the process has ended.
func (id ID) Wait(ctx context.Context) error {
	f, err := id.Open()
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return Await(ctx, f)
}
