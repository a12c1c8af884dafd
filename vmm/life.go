package vmm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// State is where a machine is in its life.
type State uint8

// The states of a machine.
//
//	Created ─Start─► Running ◄─Pause/Resume─► Paused
//	   │                │                       │
//	   └─────Stop───────┴──── guest, Stop ──────┴──► Ended ─Close─► Closed
const (
	Created State = iota // set up; no vCPU has run
	Running
	Paused
	Ended // see Wait
	Closed
)

var stateNames = [...]string{"created", "running", "paused", "ended", "closed"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// ErrState says that a machine's state does not allow what was asked.
var ErrState = errors.New("not possible in this state")

func stateError(op string, s State) error {
	return fmt.Errorf("vmm: %s %v machine: %w", op, s, ErrState)
}

// life is what the vCPUs' threads and those who steer them agree through. A vCPU
// looks at it only when it was kicked (see kvm.VCPU.Kick), so that an exit costs
// no look here.
type life struct {
	mu      sync.Mutex
	changed sync.Cond

	state   State
	pause   int // how many Pause calls want the vCPUs parked
	parked  int // vCPUs that wait
	live    int // vCPUs whose threads have not ended
	since   time.Time
	outcome Outcome

	done chan struct{} // closed when the machine has ended and its devices are quiet
}

func (l *life) init() {
	l.changed.L = &l.mu
	l.done = make(chan struct{})
}

// start counts the vCPUs in.
func (l *life) start(cpus int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != Created {
		return stateError("start", l.state)
	}
	l.state, l.live, l.since = Running, cpus, time.Now()
	return nil
}

// rest is where a vCPU that was kicked comes: it waits while the machine is
// paused. goOn is false when the machine has ended; waited tells whether time
// passed that the guest did not see.
func (l *life) rest() (goOn, waited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parkingLocked() {
		waited = true
		l.parked++
		l.changed.Broadcast()
		for l.parkingLocked() {
			l.changed.Wait()
		}
		l.parked--
	}
	return l.state == Running, waited
}

func (l *life) parkingLocked() bool {
	return l.state == Paused || l.state == Running && l.pause > 0
}

// left counts a vCPU out; the last one is told so.
func (l *life) left() (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live--
	l.changed.Broadcast()
	return l.live == 0
}

// end makes o the outcome, unless there is one. first tells whether it is; idle
// whether no vCPU has ever run, so that nobody is there to count out.
func (l *life) end(o Outcome) (first, idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state >= Ended {
		return false, false
	}
	idle = l.state == Created
	if !idle {
		o.Run = time.Since(l.since)
	}
	l.state, l.outcome = Ended, o
	l.changed.Broadcast()
	return true, idle
}

// halt waits until every vCPU is parked; kick is called once they have been told
// to.
func (l *life) halt(ctx context.Context, kick func()) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer stop()

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != Running && l.state != Paused {
		return stateError("pause", l.state)
	}
	l.pause++
	defer func() { l.pause-- }()
	l.mu.Unlock()
	kick()
	l.mu.Lock()
	for {
		switch {
		case l.state != Running && l.state != Paused:
			return stateError("pause", l.state)
		case l.parked == l.live:
			l.state = Paused
			return nil
		case ctx.Err() != nil:
			l.changed.Broadcast() // those that are parked may go on
			return fmt.Errorf("vmm: pause: %w", context.Cause(ctx))
		}
		l.changed.Wait()
	}
}

// resume lets the vCPUs go on.
func (l *life) resume() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != Paused {
		return stateError("resume", l.state)
	}
	l.state = Running
	l.changed.Broadcast()
	return nil
}

func (l *life) current() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *life) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = Closed
}

func (l *life) result() Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcome
}
