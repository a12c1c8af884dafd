package virtiotest

import (
	"encoding/binary"
	"sync"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// Echo is a device that copies what it reads of a chain to what it writes of it.
// Its configuration space has a counter of 64 bits, whose halves are always equal,
// and 8 bytes that the driver can write.
type Echo struct {
	// Hold, if not nil, is received from before each chain is answered: a request
	// stays in flight until the test lets it go.
	Hold chan struct{}
	// Held is signalled when a chain begins to wait, Resetting when Reset is
	// called. Both may be nil.
	Held, Resetting chan struct{}

	queues  int
	size    uint16
	workers virtio.Workers

	mu      sync.Mutex
	update  func(func())
	counter uint32
	scratch [8]byte
}

// TypeEcho is a number that no device of the specification has.
const TypeEcho virtio.Type = 63

// NewEcho makes one.
func NewEcho(queues int, size uint16) *Echo { return &Echo{queues: queues, size: size} }

// Type implements virtio.Device.
func (e *Echo) Type() virtio.Type { return TypeEcho }

// Features implements virtio.Device: the ring's, and one of its own.
func (e *Echo) Features() uint64 { return virtio.RingFeatures | 1<<0 }

// QueueSizes implements virtio.Device.
func (e *Echo) QueueSizes() []uint16 {
	sizes := make([]uint16, e.queues)
	for i := range sizes {
		sizes[i] = e.size
	}
	return sizes
}

// ReadConfig implements virtio.Device.
func (e *Echo) ReadConfig(off uint32, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var c [16]byte
	binary.LittleEndian.PutUint32(c[:], e.counter)
	binary.LittleEndian.PutUint32(c[4:], e.counter)
	copy(c[8:], e.scratch[:])
	if int(off) < len(c) {
		copy(p, c[off:])
	}
}

// WriteConfig implements virtio.Device.
func (e *Echo) WriteConfig(off uint32, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if off >= 8 && off < 16 {
		copy(e.scratch[off-8:], p)
	}
}

// Count changes the configuration space of the active device.
func (e *Echo) Count() {
	e.mu.Lock()
	update := e.update
	e.mu.Unlock()
	update(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.counter++
	})
}

// Activate implements virtio.Device.
func (e *Echo) Activate(a *virtio.Activation) error {
	e.mu.Lock()
	e.update = a.UpdateConfig
	e.mu.Unlock()
	e.workers.Start(a, func(int) virtio.Serve { return e.serve })
	return nil
}

// Reset implements virtio.Device.
func (e *Echo) Reset() {
	if e.Resetting != nil {
		e.Resetting <- struct{}{}
	}
	e.workers.Stop()
}

// StopQueue implements virtio.QueueResetter.
func (e *Echo) StopQueue(i int) { e.workers.StopQueue(i) }

// StartQueue implements virtio.QueueResetter.
func (e *Echo) StartQueue(i int, q virtio.Queue) error {
	e.workers.StartQueue(i, q)
	return nil
}

// Notify implements virtio.Notified.
func (e *Echo) Notify(i int) { e.workers.Notify(i) }

func (e *Echo) serve(_ *queue.Queue, c *queue.Chain) (uint32, error) {
	if e.Held != nil {
		e.Held <- struct{}{}
	}
	if e.Hold != nil {
		<-e.Hold
	}
	written := uint32(0)
	to := c.Writable
	for _, from := range c.Readable {
		for len(from) > 0 && len(to) > 0 {
			n := copy(to[0], from)
			from, to[0] = from[n:], to[0][n:]
			written += uint32(n)
			if len(to[0]) == 0 {
				to = to[1:]
			}
		}
	}
	return written, nil
}

var (
	_ virtio.QueueResetter = (*Echo)(nil)
	_ virtio.Notified      = (*Echo)(nil)
)
