package vsock

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"tandem/internal/eventfd"
	"tandem/virtio"
)

// The queues. virtio 1.2, section 5.10.2.
const (
	receiveQueue = iota
	transmitQueue
	eventQueue
	queues
)

// Sizes of the queues. Linux's driver posts as many receive buffers, of 4 KiB, as there are descriptors.
const (
	dataQueueSize  = 256
	eventQueueSize = 16
)

// configSize is the length of struct virtio_vsock_config: the guest's CID.
const configSize = 8

// Device is a socket device. It implements virtio.Device, virtio.QueueResetter and virtio.Notified.
type Device struct {
	spec     Spec
	features uint64
	board    *switchboard // nil where a Server serves the queues

	workers virtio.Workers // of the transmit queue and the event queue

	interrupted atomic.Bool // the driver is to be told that its connections are gone

	mu     sync.RWMutex        // guards what follows: Notify and ResetTransport read it at any time
	kicks  [queues]*eventfd.FD // of the queues that are in use
	active bool
}

// New makes a socket device, and its Unix socket.
func New(spec Spec) (*Device, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.MaxConnections == 0 {
		spec.MaxConnections = DefaultMaxConnections
	}
	if spec.Buffer == 0 {
		spec.Buffer = DefaultBuffer
	}
	d := &Device{spec: spec, features: virtio.RingFeatures | 1<<virtio.FeatureRingReset | 1<<FeatureStream}
	if s := spec.Server; s != nil {
		d.features = s.Features()&(virtio.RingFeatures|1<<FeatureStream|1<<FeatureSeqPacket) | 1<<virtio.FeatureRingReset
		return d, nil
	}
	var err error
	d.board, err = newSwitchboard(&spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Close ends all connections and listeners, and removes the Unix socket. The device must not be active.
func (d *Device) Close() error {
	if d.board != nil {
		d.board.close()
	}
	return nil
}

// CID is the guest's address.
func (d *Device) CID() uint64 { return d.spec.CID }

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeVsock }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return d.features }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	return []uint16{receiveQueue: dataQueueSize, transmitQueue: dataQueueSize, eventQueue: eventQueueSize}
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint32, p []byte) {
	var c [configSize]byte
	binary.LittleEndian.PutUint64(c[:], d.spec.CID)
	if off < configSize {
		copy(p, c[off:])
	}
}

// WriteConfig implements virtio.Device: all of it is read-only.
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	mine := *a
	mine.Queues = make([]virtio.Queue, queues)
	mine.Queues[eventQueue] = a.Queues[eventQueue]
	if d.board != nil {
		mine.Queues[transmitQueue] = a.Queues[transmitQueue]
		x := d.board.begin(a)
		mine.Fail = func(err error) {
			d.board.abandon(x, err)
			a.Fail(err)
		}
	}
	d.interrupted.Store(false)
	d.setKicks(a.Queues)
	// The workers are first: when the server fails, they leave the event queue alone too.
	fail := d.workers.Start(&mine, d.serveOf)
	if d.spec.Server != nil {
		theirs := *a
		theirs.Queues, theirs.Fail = a.Queues[:eventQueue:eventQueue], fail
		if err := d.spec.Server.Activate(&theirs); err != nil {
			d.setKicks(nil)
			d.workers.Stop()
			return err
		}
	}
	if d.board != nil && a.Queues[receiveQueue].Queue != nil {
		if err := d.board.attach(a.Queues[receiveQueue]); err != nil {
			d.Reset()
			return err
		}
	}
	return nil
}

func (d *Device) setKicks(qs []virtio.Queue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kicks = [queues]*eventfd.FD{}
	d.active = qs != nil
	for i, q := range qs {
		if q.Queue != nil {
			d.kicks[i] = q.Kick
		}
	}
}

func (d *Device) setKick(i int, e *eventfd.FD) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kicks[i] = e
}

func (d *Device) serveOf(i int) virtio.Serve {
	if i == eventQueue {
		return d.serveEvent
	}
	return d.board.serve
}

// Reset implements virtio.Device.
func (d *Device) Reset() {
	d.setKicks(nil)
	d.workers.Stop()
	if d.board != nil {
		d.board.finish()
		return
	}
	d.spec.Server.Reset()
}

// StopQueue implements virtio.QueueResetter. Without one of its two queues the device has no connections: all end, and
// the driver is told.
func (d *Device) StopQueue(i int) {
	d.setKick(i, nil)
	switch {
	case i == eventQueue:
		d.workers.StopQueue(i)
	case d.board == nil:
		d.spec.Server.StopQueue(i)
	case i == transmitQueue:
		d.workers.StopQueue(i)
		if d.board.setTransmit(nil) {
			d.tellInterrupted()
		}
	default:
		if d.board.stopReceive() {
			d.tellInterrupted()
		}
	}
}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	switch {
	case i == eventQueue:
		d.workers.StartQueue(i, q)
	case d.board == nil:
		if err := d.spec.Server.StartQueue(i, q); err != nil {
			return err
		}
	case i == transmitQueue:
		d.board.setTransmit(q.Kick)
		d.workers.StartQueue(i, q)
	default:
		if err := d.board.attach(q); err != nil {
			return err
		}
	}
	d.setKick(i, q.Kick)
	return nil
}

// Notify implements virtio.Notified: packets of the guest's are taken in in the thread of the vCPU that kicked. Its
// buffers are for the switchboard's goroutine to look at, or for the server.
func (d *Device) Notify(i int) {
	if i == eventQueue || i == transmitQueue && d.board != nil {
		d.workers.Notify(i)
		return
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if i < queues && d.kicks[i] != nil {
		_ = d.kicks[i].Signal() // an error is that it was closed: nobody is left to wake
	}
}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
