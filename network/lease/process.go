package lease

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/internal/process"
)

// Process names a process for good: PIDs come again, but not with the same start time in the same boot.
type Process struct {
	PID       int    `json:"pid"`
	Started   uint64 `json:"started"`   // in clock ticks since boot: see process.ID
	Namespace uint64 `json:"namespace"` // the PID namespace that PID is a number of
}

// Self is the calling process.
func Self() (Process, error) {
	self, err := process.Self()
	if err != nil {
		return Process{}, fmt.Errorf("lease: own start time: %w", err)
	}
	namespace, err := pidNamespace()
	if err != nil {
		return Process{}, err
	}
	return Process{self.PID, self.Start, namespace}, nil
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
	now, err := process.Of(p.PID)
	if err != nil {
		return !errors.Is(err, process.ErrGone)
	}
	return now.Start == p.Started
}
