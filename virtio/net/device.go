package net

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"tandem/virtio"
	"tandem/virtio/limit"
)

// Sizes of the queues. Linux's driver posts as many receive buffers as there are descriptors.
const (
	QueueSize        = 1024 // of a data queue
	controlQueueSize = 64
)

// Spec is the card that is wanted.
type Spec struct {
	// MAC is the card's address; the driver chooses one if it is nil.
	MAC net.HardwareAddr
	// Pairs is the number of queue pairs, 1 to MaxPairs; 1 if 0.
	Pairs int
	// MTU is what the driver is told is the longest packet; 0 tells nothing.
	MTU uint16
	// Speed is what the driver is told of the cable, in Mbit/s; 0 is unknown.
	Speed uint32
	// Leave is feature bits not to offer.
	Leave uint64

	// Backend is where the cable ends. The device closes it.
	Backend Backend
	// Server, if not nil, serves the data queues in the device's place: the kernel's vhost, which needs the Backend too,
	// or another process over vhost-user, which needs none.
	Server virtio.RingServer
	// Report, if not nil, is told of errors that concern nobody else, such as a tap that is gone.
	Report func(error)
}

// Device is a network card. It implements virtio.Device, virtio.QueueResetter and virtio.Notified.
type Device struct {
	spec     Spec
	features uint64

	// Transmit and Receive are the limits of what the guest sends and gets. They may be changed at any time. They do not
	// hold where a Server serves the queues.
	Transmit, Receive limit.Limiter

	stats  []pairStats
	filter filterState
	pairs  atomic.Int32 // those that are in use

	mu     sync.Mutex // guards what follows, for the configuration space and its changes
	config [configSize]byte
	update func(func()) // Activation.UpdateConfig, while active

	// What belongs to an activation: only Activate, Reset, StopQueue and StartQueue use it, and the control queue's
	// worker what is said to be its.
	agreed    uint64
	controlAt int                // the number of the control queue; -1 without one
	alone     bool               // there is nobody at the control queue
	workers   virtio.Workers     // the transmit queues' and the control queue's
	served    *virtio.Activation // what Server has got

	receivers receivers
}

// New makes a card. If it fails, the backend is closed.
func New(spec Spec) (*Device, error) {
	if spec.Pairs == 0 {
		spec.Pairs = 1
	}
	d := &Device{spec: spec}
	if err := d.check(); err != nil {
		err = fmt.Errorf("virtio/net: %w", err)
		if spec.Backend != nil {
			err = errors.Join(err, spec.Backend.Close())
		}
		return nil, err
	}
	d.stats = make([]pairStats, spec.Pairs)
	d.makeConfig()
	d.features = d.offer()
	d.filter.reset(spec.MAC)
	d.Transmit.OnSet(d.workers.Wake)
	d.Receive.OnSet(d.receivers.kickAll)
	return d, nil
}

func (d *Device) check() error {
	s := &d.spec
	switch {
	case s.Pairs < 1 || s.Pairs > MaxPairs:
		return fmt.Errorf("%d queue pairs: want 1 to %d", s.Pairs, MaxPairs)
	case s.MTU != 0 && s.MTU < minMTU:
		return fmt.Errorf("MTU %d: want %d to %d", s.MTU, minMTU, maxMTU)
	case s.Backend == nil && s.Server == nil:
		return errors.New("neither a backend nor somebody to serve the queues")
	case s.Backend != nil && s.Backend.Pairs() < s.Pairs:
		return fmt.Errorf("%d queue pairs on a backend of %d", s.Pairs, s.Backend.Pairs())
	case s.MAC != nil:
		return checkMAC(s.MAC)
	}
	return nil
}

// offer is what the card can do together with those who serve it.
func (d *Device) offer() uint64 {
	s := &d.spec
	offloads := GuestOffloads | HostOffloads
	if s.Backend != nil {
		offloads &= s.Backend.Features()
	}
	data := virtio.RingFeatures | 1<<virtio.FeatureRingReset | 1<<FeatureMergeable | offloads
	if s.Server != nil {
		data &= s.Server.Features() | 1<<virtio.FeatureRingReset
		if s.Backend != nil {
			// The kernel's vhost passes headers between the rings and the tap as they are, and does not speak of what
			// stands in them.
			data |= offloads
		}
	}
	f := data | control | 1<<FeatureStatus | 1<<FeatureSpeedDuplex
	if s.Backend != nil {
		f |= 1 << FeatureCtrlGuestOffloads // there is nobody to tell otherwise
	}
	if s.MAC != nil {
		f |= 1 << FeatureMAC
	}
	if s.MTU != 0 {
		f |= 1 << FeatureMTU
	}
	if s.Pairs > 1 {
		f |= 1 << FeatureMQ
	}
	return consistent(f &^ s.Leave)
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeNet }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return d.features }

// QueueSizes implements virtio.Device: receiveq1, transmitq1, and so on, and controlq at the end.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, 2*d.spec.Pairs+1)
	for i := range sizes {
		sizes[i] = QueueSize
	}
	sizes[len(sizes)-1] = controlQueueSize
	return sizes
}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	d.agreed = consistent(a.Features)
	d.filter.reset(d.spec.MAC)
	d.filter.follow(d.agreed)
	if b := d.spec.Backend; b != nil {
		if err := b.SetOffloads(d.agreed & GuestOffloads); err != nil {
			return err
		}
		if err := d.usePairs(1); err != nil {
			return err
		}
	}
	d.controlAt = d.findControl()
	d.mu.Lock()
	d.update = a.UpdateConfig
	d.mu.Unlock()

	mine, theirs := d.share(a)
	// The workers are first: when the server fails, they leave the control queue alone too.
	theirs.Fail = d.workers.Start(mine, d.serveOf)
	if d.spec.Server != nil {
		if err := d.spec.Server.Activate(theirs); err != nil {
			d.workers.Stop()
			d.forget()
			return err
		}
		d.served = theirs
	}
	d.receivers.start(d, a)
	d.alone = d.controlAt < 0 || d.controlAt >= len(a.Queues) || a.Queues[d.controlAt].Queue == nil
	return d.followQueues()
}

// followQueues has frames come to those pairs that there are receive queues of, where nobody says how many there should
// be: the control queue is somebody else's, as it is for a vhost-user back-end.
func (d *Device) followQueues() error {
	if !d.alone || d.spec.Backend == nil || d.spec.Server != nil {
		return nil
	}
	return d.usePairs(max(1, d.receivers.served()))
}

// findControl is where the control queue is: behind those pairs that the driver may use (virtio 1.2, section 5.1.2).
func (d *Device) findControl() int {
	switch {
	case d.agreed&(1<<FeatureCtrlVQ) == 0:
		return -1
	case d.agreed&(1<<FeatureMQ) == 0:
		return 2
	}
	return 2 * d.spec.Pairs
}

// share parts the queues: the workers get those that they serve, and the server the rest.
func (d *Device) share(a *virtio.Activation) (mine, theirs *virtio.Activation) {
	m, t := *a, *a
	m.Queues = make([]virtio.Queue, len(a.Queues))
	t.Queues = make([]virtio.Queue, 2*d.spec.Pairs)
	for i, q := range a.Queues {
		switch {
		case i == d.controlAt:
			m.Queues[i] = q
		case i >= 2*d.spec.Pairs: // nobody's
		case d.spec.Server != nil:
			t.Queues[i] = q
		case transmits(i):
			m.Queues[i] = q
		}
	}
	return &m, &t
}

// transmits tells of a data queue's number whether it is a transmitq.
func transmits(queue int) bool { return queue%2 == 1 }

func (d *Device) serveOf(i int) virtio.Serve {
	if i == d.controlAt {
		return d.serveControl
	}
	return newTransmitter(d, i/2).serve
}

// Reset implements virtio.Device.
func (d *Device) Reset() {
	d.workers.Stop()
	d.receivers.stop()
	if d.served != nil {
		d.spec.Server.Reset()
		d.served = nil
	}
	if b := d.spec.Backend; b != nil {
		// A tap that is gone cannot be told, and need not be.
		_ = b.SetOffloads(0)
		_ = d.usePairs(1)
	}
	d.forget()
}

// usePairs has frames come to the first n pairs only. The files of the others cannot be read meanwhile.
func (d *Device) usePairs(n int) error {
	had := int(d.pairs.Load())
	if n < had {
		d.pairs.Store(int32(n))
	}
	err := d.spec.Backend.SetPairs(n)
	d.pairs.Store(int32(n))
	d.receivers.wake(min(n, had), max(n, had))
	return err
}

func (d *Device) forget() {
	d.mu.Lock()
	d.update = nil
	d.mu.Unlock()
	d.filter.reset(d.spec.MAC)
}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {
	switch {
	case i == d.controlAt:
		d.workers.StopQueue(i)
	case i >= 2*d.spec.Pairs:
	case d.spec.Server != nil:
		d.spec.Server.StopQueue(i)
	case transmits(i):
		d.workers.StopQueue(i)
	default:
		d.receivers.stopOne(i / 2)
		if err := d.followQueues(); err != nil {
			d.report(err)
		}
	}
}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	switch {
	case i == d.controlAt:
		d.workers.StartQueue(i, q)
	case i >= 2*d.spec.Pairs:
	case d.spec.Server != nil:
		return d.spec.Server.StartQueue(i, q)
	case transmits(i):
		d.workers.StartQueue(i, q)
	default:
		d.receivers.startOne(i/2, q)
		return d.followQueues()
	}
	return nil
}

// Notify implements virtio.Notified: frames go to the backend in the thread of the vCPU that kicked. A receive queue's
// buffers, and a server's queues, are for others to look at.
func (d *Device) Notify(i int) {
	if d.receivers.kick(i) || d.kickServer(i) {
		return
	}
	d.workers.Notify(i)
}

// Close closes the backend. The device must not be active.
func (d *Device) Close() error {
	if d.spec.Backend == nil {
		return nil
	}
	return d.spec.Backend.Close()
}

func (d *Device) report(err error) {
	if d.spec.Report != nil {
		d.spec.Report(fmt.Errorf("virtio/net: %w", err))
	}
}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
