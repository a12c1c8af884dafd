// Package boottimer is a port that stops a clock: the guest writes a byte to it
// when it reaches a point worth measuring, and the monitor notes the time.
//
//	process start ──────────────► guest writes 1 to port 0x610
//	              wall, CPU time
//
// It is how the time from a command's start to a guest's init is measured
// without a clock in the guest: a write to a port leaves the guest at once.
package boottimer

import (
	"sync"
	"time"
)

// maxMarks bounds what a hostile guest can make the monitor remember.
const maxMarks = 64

// Mark is a byte that the guest wrote, and when.
type Mark struct {
	Value byte `json:"value"`
	// Wall counts from the timer's start; CPU is the processor time of the
	// whole process until then, user and system, its guest's included.
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`
}

// Timer is the port: a bus handler.
type Timer struct {
	start time.Time
	cpu   func() time.Duration

	mu    sync.Mutex
	marks []Mark
}

// New makes a timer that counts from start. cpu tells the processor time that
// the process has used.
func New(start time.Time, cpu func() time.Duration) *Timer {
	return &Timer{start: start, cpu: cpu}
}

// Read gives 0: the register has nothing to tell.
func (t *Timer) Read(_ uint64, p []byte) { clear(p) }

// Write notes the time.
func (t *Timer) Write(_ uint64, p []byte) {
	wall, cpu := time.Since(t.start), t.cpu()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range p {
		if len(t.marks) == maxMarks {
			return
		}
		t.marks = append(t.marks, Mark{Value: v, Wall: wall, CPU: cpu})
	}
}

// Marks lists what was noted so far.
func (t *Timer) Marks() []Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Mark(nil), t.marks...)
}
