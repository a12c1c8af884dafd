package box

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container"
)

// asked is what a keeper is asked by signals. SIGTERM is to end: at the machine's end, or by Stop. It is passed on to the
// box, if that runs.
type asked struct {
	received chan os.Signal
	done     chan struct{}
	ending   chan struct{} // closed by the first

	mu      sync.Mutex
	process *container.Process // nil between two lives of the box
}

func listen() *asked {
	a := &asked{received: make(chan os.Signal, 8), done: make(chan struct{}), ending: make(chan struct{})}
	// The others are caught and not heeded. Ignored they would be in the box too, as execve(2) leaves them so.
	signal.Notify(a.received, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	go func() {
		defer close(a.done)
		for s := range a.received {
			if s != unix.SIGTERM {
				continue
			}
			a.mu.Lock()
			if !a.toEnd() {
				close(a.ending)
			}
			a.signal()
			a.mu.Unlock()
		}
	}()
	return a
}

// signal is called with the lock held.
func (a *asked) signal() {
	if a.process != nil {
		_ = a.process.Signal(unix.SIGTERM) // it may have ended: Wait tells
	}
}

// pass names the process that is asked in its turn.
func (a *asked) pass(p *container.Process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.process = p
	if a.toEnd() {
		a.signal()
	}
}

func (a *asked) toEnd() bool {
	select {
	case <-a.ending:
		return true
	default:
		return false
	}
}

// pause waits, and tells whether it was left in peace.
func (a *asked) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ending:
		return false
	}
}

func (a *asked) stop() {
	signal.Stop(a.received)
	close(a.received)
	<-a.done
}
