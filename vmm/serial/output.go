package serial

import (
	"io"
	"sync"
	"time"
)

// outputSize is how much output waits for a slow writer before the transmitter
// says that it is busy.
const outputSize = 64 << 10

// output carries bytes to a writer in the background.
type output struct {
	w       io.Writer
	drained func() // called without a lock when there is room again

	mu    sync.Mutex
	more  sync.Cond
	buf   []byte // waiting
	spare []byte // the other of two buffers that take turns
	busy  bool   // the writer has the other one
	full  bool   // ready was false since the last drained
	shut  bool
	done  chan struct{} // closed when the goroutine ended
}

func newOutput(w io.Writer, drained func()) *output {
	o := &output{w: w, drained: drained, done: make(chan struct{})}
	o.more.L = &o.mu
	if w == nil {
		close(o.done)
		return o
	}
	go o.run()
	return o
}

// put takes a byte, or drops it if there is no room or no writer.
func (o *output) put(v byte) {
	if o.w == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut || len(o.buf) >= outputSize {
		return
	}
	o.buf = append(o.buf, v)
	o.full = len(o.buf) >= outputSize
	o.more.Signal()
}

// ready tells whether put has room.
func (o *output) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) < outputSize
}

// empty tells whether everything was written.
func (o *output) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) == 0 && !o.busy
}

// run writes what comes. After an error it goes on throwing bytes away: a
// guest must not hang because nobody listens any more.
func (o *output) run() {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.buf) == 0 {
			if o.shut {
				return
			}
			o.more.Wait()
		}
		batch := o.buf
		o.buf = o.spare[:0]
		wasFull := o.full
		o.full, o.busy = false, true
		o.mu.Unlock()
		if wasFull {
			o.drained()
		}
		_, _ = o.w.Write(batch)
		o.mu.Lock()
		o.spare, o.busy = batch, false
	}
}

// shutdown takes no more bytes and waits until those that came are written, or
// until the time is up: a writer may be blocked for ever.
func (o *output) shutdown(patience time.Duration) bool {
	o.mu.Lock()
	o.shut = true
	o.more.Signal()
	o.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.done:
		return true
	case <-timer.C:
		return false
	}
}
