package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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
func (p process) kill() error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	// The descriptor holds on to whoever has the number now; only then is it safe to ask who that is.
	now, err := identify(p.PID)
	if errors.Is(err, os.ErrNotExist) || err == nil && now != p {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(ended, -1); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
