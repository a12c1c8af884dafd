package console

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tandem/virtio"
)

// The queues. virtio 1.2, section 5.3.2.
const (
	controlReceiveQueue  = 2
	controlTransmitQueue = 3
)

// receiveQueue is the number of a port's receiveq; its transmitq comes next.
func receiveQueue(port int) int {
	if port == 0 {
		return 0
	}
	return 2 + 2*port
}

// portOf is the port that a queue belongs to, and whether the guest sends on it.
func portOf(queue int) (port int, transmits bool) {
	if queue < controlReceiveQueue {
		return 0, queue == 1
	}
	return queue/2 - 1, queue%2 == 1
}

// Device is a virtio console. It implements virtio.Device, virtio.QueueResetter and virtio.Notified.
type Device struct {
	spec  Spec
	ports []*Port

	workers   virtio.Workers
	multiport atomic.Bool // agreed upon by the driver that is there
	resizes   atomic.Bool // VIRTIO_CONSOLE_F_SIZE was
	bad       atomic.Uint64

	mu     sync.Mutex // guards what follows
	size   size
	update func(func()) // Activation.UpdateConfig, while active
	kicks  kicks
}

// size is a window's, in character cells.
type size struct{ cols, rows uint16 }

// New makes a console whose ports nobody is connected to.
func New(spec Spec) (*Device, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("virtio/console: %w", err)
	}
	d := &Device{spec: spec}
	for i, p := range spec.Ports {
		d.ports = append(d.ports, newPort(d, i, p))
	}
	d.kicks = make(kicks, len(d.QueueSizes()))
	return d, nil
}

// Ports are the device's ports by number.
func (d *Device) Ports() []*Port { return d.ports }

// Ignored counts control messages of the driver that made no sense.
func (d *Device) Ignored() uint64 { return d.bad.Load() }

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeConsole }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := virtio.RingFeatures | 1<<FeatureSize | 1<<FeatureEmergWrite
	if !d.spec.Single {
		f |= 1 << FeatureMultiport
	}
	return f
}

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	if d.spec.Single {
		return []uint16{queueSize, queueSize}
	}
	sizes := make([]uint16, 2+2*len(d.spec.Ports))
	for i := range sizes {
		sizes[i] = queueSize
	}
	sizes[controlReceiveQueue], sizes[controlTransmitQueue] = controlQueueSize, controlQueueSize
	return sizes
}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	multiport := a.Has(FeatureMultiport)
	d.multiport.Store(multiport)
	d.resizes.Store(a.Has(FeatureSize))
	d.mu.Lock()
	d.update = a.UpdateConfig
	for i, q := range a.Queues {
		if q.Queue != nil {
			d.kicks[i] = q.Kick
		}
	}
	d.mu.Unlock()
	d.workers.Start(a, d.serveOf)
	for i, p := range d.ports {
		// A driver that knows of no ports has one, which is open.
		p.activate(!multiport && i == 0)
	}
	d.mu.Lock()
	told := d.size != size{}
	d.mu.Unlock()
	if told && !multiport && a.Has(FeatureSize) {
		// Linux looks at the size when it is told that something has changed, and not before.
		a.UpdateConfig(func() {})
	}
	return nil
}

func (d *Device) serveOf(queue int) virtio.Serve {
	switch queue {
	case controlReceiveQueue:
		return d.serveControlReceive
	case controlTransmitQueue:
		return d.serveControlTransmit
	}
	port, transmits := portOf(queue)
	if transmits {
		return (&transmitter{port: d.ports[port]}).serve
	}
	return d.ports[port].serveReceive
}

// Reset implements virtio.Device. What the host has sent and the guest has not got waits for the next driver.
func (d *Device) Reset() {
	d.mu.Lock()
	d.update = nil
	clear(d.kicks)
	d.mu.Unlock()
	d.workers.Stop()
	for _, p := range d.ports {
		p.deactivate()
	}
}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {
	d.mu.Lock()
	d.kicks[i] = nil
	d.mu.Unlock()
	d.workers.StopQueue(i)
}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	d.mu.Lock()
	d.kicks[i] = q.Kick
	d.mu.Unlock()
	d.workers.StartQueue(i, q)
	return nil
}

// Notify implements virtio.Notified.
func (d *Device) Notify(i int) { d.workers.Notify(i) }

// Close ends all connections, when what the guest has sent is written, and takes no more. The device must not be
// active.
func (d *Device) Close() error {
	var errs []error
	for _, p := range d.ports {
		p.mu.Lock()
		p.unplugged = true
		c := p.conn
		p.mu.Unlock()
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// wake has a queue looked at, as a kick of the driver's does.
func (d *Device) wake(queue int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kicks.wake(queue)
}

func (d *Device) report(err error) {
	if d.spec.Report != nil {
		d.spec.Report(fmt.Errorf("virtio/console: %w", err))
	}
}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
