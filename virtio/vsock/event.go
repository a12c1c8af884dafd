package vsock

import (
	"encoding/binary"
	"time"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// eventTransportReset is VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, the one event that there is: all connections are gone.
// virtio 1.2, section 5.10.6.7.
const eventTransportReset = 0

// eventSize is the length of struct virtio_vsock_event.
const eventSize = 4

// untilKicked is for how long the event queue's buffers wait: until somebody kicks.
const untilKicked = virtio.Later(time.Hour)

// ResetTransport ends all connections and tells the driver so, as after the guest was moved to another host. Where a
// Server serves the queues, its connections are its own affair.
func (d *Device) ResetTransport() {
	if d.board != nil {
		d.board.interrupt()
	}
	d.tellInterrupted()
}

// tellInterrupted has the driver told. It need not be told twice.
func (d *Device) tellInterrupted() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.active {
		return
	}
	d.interrupted.Store(true)
	if k := d.kicks[eventQueue]; k != nil {
		_ = k.Signal()
	}
}

// serveEvent is a virtio.Serve: a buffer waits for an event.
func (d *Device) serveEvent(q *queue.Queue, c *queue.Chain) (uint32, error) {
	if c.WriteLen < eventSize {
		return 0, q.Broken(c, "an event buffer without room for an event")
	}
	if !d.interrupted.CompareAndSwap(true, false) {
		return 0, untilKicked
	}
	var b [eventSize]byte
	binary.LittleEndian.PutUint32(b[:], eventTransportReset)
	put(c.Writable, b[:])
	return eventSize, nil
}
