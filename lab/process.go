package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process names a process for good: process numbers are used again, but not in the same clock tick since boot.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // field 22 of /proc/PID/stat, proc(5)
}

// identify reads a living process's name.
func identify(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	start, err := parseStart(stat)
	if err != nil {
		return process{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return process{pid, start}, nil
}

// parseStart finds the start time in a stat line. The program's name, field 2, stands in parentheses and may itself
// hold blanks and parentheses.
func parseStart(stat []byte) (uint64, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("no program name")
	}
	const afterName = 22 - 3 // fields are counted from 1, and the rest begins with field 3
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) <= afterName {
		return 0, fmt.Errorf("%d fields after the program name", len(fields))
	}
	return strconv.ParseUint(fields[afterName], 10, 64)
}

// kill ends the process and waits until it is gone. One that is gone already is no error.
func (p process) kill(ctx context.Context) error {
	fd, err := p.open()
	if fd == nil {
		return err
	}
	defer fd.Close()
	if err := sendKill(fd); err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return awaitEnd(ctx, fd)
}

// open returns a descriptor of the process (pidfd_open(2)), or nil if it is gone.
func (p process) open() (*os.File, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", p.PID))
	// The descriptor holds on to whoever has the number now; only then is it safe to ask who that is.
	now, err := identify(p.PID)
	switch {
	case err == nil && now == p:
		return f, nil
	case err == nil, errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		err = nil
	}
	f.Close()
	return nil, err
}

func sendKill(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return errors.Join(err, sent)
}

// awaitEnd waits for the end of a process: its descriptor is readable from then on.
func awaitEnd(ctx context.Context, pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { pidfd.SetReadDeadline(time.Unix(1, 0)) })()
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
