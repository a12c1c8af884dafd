package console

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	inputSize  = 32 << 10 // read ahead of the guest
	outputSize = 64 << 10 // each of two buffers that wait for the writer

	// drainPatience is how long Close waits for the writer.
	drainPatience = 5 * time.Second
)

// errNotWritten is why Close fails: the writer is stuck.
var errNotWritten = errors.New("the writer did not take the rest of the guest's output")

// Connection is the host's end of a port.
type Connection struct {
	port *Port
	in   io.Reader
	out  io.Writer

	mu      sync.Mutex
	changed sync.Cond // any of what follows
	closed  bool

	ready   bool   // the guest takes input
	input   []byte // what it has not got of the reader's buffer
	reading bool   // the reader has its buffer back

	output  []byte // what waits for the writer
	spare   []byte // the other buffer
	full    bool   // there was no room, and nobody was told since that there is
	since   time.Time
	failed  bool // out has failed: the rest is thrown away
	written chan struct{}

	end       sync.Once
	ended     chan struct{}
	closeOnce sync.Once
	closeErr  error
}

func newConnection(p *Port, in io.Reader, out io.Writer) *Connection {
	c := &Connection{port: p, in: in, out: out, reading: true, written: make(chan struct{}), ended: make(chan struct{})}
	c.changed.L = &c.mu
	return c
}

func (c *Connection) start() {
	go c.write()
	if c.in != nil {
		go c.read()
	}
}

// Ended is closed when the guest has got all of the input, to its end, when the output cannot be written, and when the
// connection is closed.
func (c *Connection) Ended() <-chan struct{} { return c.ended }

func (c *Connection) finish() { c.end.Do(func() { close(c.ended) }) }

// Close closes the host's end of the port, and waits until what the guest has sent is written, though not for ever. A
// Read of the input that waits goes on doing so: it is the caller's to end, and what it gets is thrown away.
func (c *Connection) Close() error {
	c.closeOnce.Do(func() {
		c.port.disconnect(c)
		c.mu.Lock()
		c.closed = true
		c.changed.Broadcast()
		c.mu.Unlock()
		c.finish()
		timer := time.NewTimer(drainPatience)
		defer timer.Stop()
		select {
		case <-c.written:
		case <-timer.C:
			c.closeErr = fmt.Errorf("virtio/console: close port %d: %w", c.port.number, errNotWritten)
		}
	})
	return c.closeErr
}

// setReady says whether the guest takes input.
func (c *Connection) setReady(ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = ready
	c.changed.Broadcast()
}

// read carries input to the guest, a buffer at a time.
func (c *Connection) read() {
	buf := make([]byte, inputSize)
	for c.waitRead(true) {
		n, err := c.in.Read(buf)
		c.mu.Lock()
		if !c.closed && n > 0 {
			c.input, c.reading = buf[:n], false
		}
		c.mu.Unlock()
		if n > 0 {
			c.port.device.wake(receiveQueue(c.port.number))
		}
		if err == nil {
			continue
		}
		if c.waitRead(false) {
			if err != io.EOF {
				c.port.device.report(fmt.Errorf("port %d: read: %w", c.port.number, err))
			}
			c.finish()
		}
		return
	}
}

// waitRead waits until the guest has got what was read, and for it to want more, if that is of interest. It gives false
// when the connection was closed.
func (c *Connection) waitRead(more bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (!c.reading || more && !c.ready) {
		c.changed.Wait()
	}
	return !c.closed
}

// take moves input to a chain, and tells how much of it. The reader gets its buffer back when the chain after the last
// one is there: all before it are published then, so that no control message overtakes the last byte.
func (c *Connection) take(to [][]byte) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready || c.closed {
		return 0
	}
	if len(c.input) == 0 {
		if !c.reading {
			c.reading = true
			c.changed.Broadcast()
		}
		return 0
	}
	for _, p := range to {
		k := copy(p, c.input)
		c.input = c.input[k:]
		n += k
	}
	return n
}

// put takes output as far as there is room. When it takes less, the port's transmitq is woken as soon as there is more.
func (c *Connection) put(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock() // p is guest memory: see memory.Guard
	if c.closed || c.failed || c.out == nil {
		return len(p)
	}
	n := min(len(p), outputSize-len(c.output))
	c.output = append(c.output, p[:n]...)
	if n < len(p) && !c.full {
		c.full, c.since = true, time.Now()
	}
	if n > 0 {
		c.changed.Broadcast()
	}
	return n
}

// stalled is how long the writer has not taken anything, while there was no room.
func (c *Connection) stalled() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.full {
		return 0
	}
	return time.Since(c.since)
}

// write carries output to the writer. After an error it throws away what comes: a guest must not hang because nobody
// listens any more.
func (c *Connection) write() {
	defer close(c.written)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.output) == 0 {
			if c.closed {
				return
			}
			c.changed.Wait()
		}
		batch, full := c.output, c.full
		c.output, c.full = c.spare[:0], false
		c.mu.Unlock()
		if full {
			c.port.device.wake(receiveQueue(c.port.number) + 1)
		}
		_, err := c.out.Write(batch)
		if err != nil {
			c.port.device.report(fmt.Errorf("port %d: write: %w", c.port.number, err))
			c.finish()
		}
		c.mu.Lock()
		c.spare = batch
		if err != nil {
			waits := c.full
			c.failed, c.full, c.output, c.spare = true, false, nil, nil
			if waits { // since the writer was called: there is room without end now
				c.mu.Unlock()
				c.port.device.wake(receiveQueue(c.port.number) + 1)
				c.mu.Lock()
			}
		}
	}
}
