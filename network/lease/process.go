package lease

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process names a process for good: PIDs come again, but not with the same start time in the same boot.
type Process struct {
	PID       int    `json:"pid"`
	Started   uint64 `json:"started"`   // in clock ticks since boot: field 22 of /proc/PID/stat
	Namespace uint64 `json:"namespace"` // the PID namespace that PID is a number of
}

// Self is the calling process.
func Self() (Process, error) {
	pid := os.Getpid()
	started, _, err := stat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("lease: own start time: %w", err)
	}
	namespace, err := pidNamespace()
	if err != nil {
		return Process{}, err
	}
	return Process{pid, started, namespace}, nil
}

func pidNamespace() (uint64, error) {
	const path = "/proc/self/ns/pid"
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, fmt.Errorf("lease: stat %s: %w", path, err)
	}
	return s.Ino, nil
}

// Alive tells whether the process runs. Where that can't be told, as for one of another PID namespace, it is true.
func (p Process) Alive() bool {
	if own, err := pidNamespace(); err != nil || own != p.Namespace {
		return true
	}
	started, state, err := stat(p.PID)
	if err != nil {
		return !os.IsNotExist(err)
	}
	return started == p.Started && state != 'Z' && state != 'X'
}

// stat reads the start time and the state from /proc/PID/stat (proc_pid_stat(5)).
func stat(pid int) (started uint64, state byte, err error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold anything, so the fields are counted from its end; the first is number 3.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("%s: %d fields after the name", path, len(fields))
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return started, fields[0][0], err
}
