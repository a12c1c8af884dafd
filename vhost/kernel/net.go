package kernel

import (
	"errors"
	"fmt"
	"os"
	"time"

	"tandem/vhost/dirty"
	"tandem/virtio"
	"tandem/virtio/memory"
)

// NetSpec says what network device the kernel is to serve.
type NetSpec struct {
	// Taps has one queue of the tap for each queue pair. They stay the caller's,
	// and must be open until Close. A tap that has IFF_VNET_HDR set passes the
	// header through; its size is the caller's to set (TUNSETVNETHDRSZ).
	Taps []*os.File
	// Header has the kernel add and strip the header for a tap without
	// IFF_VNET_HDR.
	Header bool
	// BusyPoll is for how long a worker looks at ring and tap before it sleeps; 0
	// for not at all.
	BusyPoll time.Duration
	// Report is told of errors that have nowhere else to go. May be nil.
	Report func(error)
}

// Net serves the queues of a network device in the kernel (vhost-net): queue 2n of
// the device receives from Taps[n], and queue 2n+1 sends to it. It is a
// virtio.RingServer: a device hands it the Activation that its transport gave it,
// with no more than the data queues in it.
type Net struct {
	server
	spec     NetSpec
	pairs    []*Device
	features uint64
	log      *dirty.Log // nil for none
}

var _ virtio.RingServer = (*Net)(nil)

// The rings of a pair's device.
const (
	ringsPerPair = 2
	receiveRing  = 0 // VHOST_NET_VQ_RX
)

// OpenNet opens /dev/vhost-net once for each queue pair. The error wraps
// errors.ErrUnsupported where there is no such thing.
func OpenNet(spec NetSpec) (*Net, error) {
	n := &Net{spec: spec, server: server{report: spec.Report}}
	if len(spec.Taps) == 0 {
		return nil, errors.New("kernel: open vhost-net: no tap")
	}
	for range spec.Taps {
		d, err := Open(NetPath)
		if err != nil {
			n.Close()
			return nil, err
		}
		n.pairs = append(n.pairs, d)
	}
	var err error
	if n.features, err = n.pairs[0].Features(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Close stops the device.
func (n *Net) Close() error {
	n.Reset()
	var errs []error
	for _, d := range n.pairs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// Features is what the kernel can serve of virtio's bits.
func (n *Net) Features() uint64 {
	return n.features &^ (1<<FeatureLogAll | 1<<FeatureNetVirtioHdr)
}

// Devices are the pairs' devices, for what has no method here: workers, logs. They
// stay the Net's.
func (n *Net) Devices() []*Device { return n.pairs }

// Activate implements virtio.RingServer.
func (n *Net) Activate(a *virtio.Activation) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(a.Queues) > ringsPerPair*len(n.pairs) {
		for i, q := range a.Queues[ringsPerPair*len(n.pairs):] {
			if q.Queue != nil {
				return fmt.Errorf("kernel: vhost-net: queue %d: there are %d taps", ringsPerPair*len(n.pairs)+i, len(n.pairs))
			}
		}
	}
	l, err := newLife(a, NetPath)
	if err != nil {
		return err
	}
	n.life = l
	if err := n.prepare(); err != nil {
		n.stopAll()
		return err
	}
	for i, q := range a.Queues {
		if q.Queue == nil {
			continue
		}
		if err := n.start(i, q); err != nil {
			n.stopAll()
			return err
		}
	}
	return nil
}

// prepare tells the pairs what all of their rings have in common. The log is first: the old bitmap may be gone, and the
// memory be larger than it was.
func (n *Net) prepare() error {
	if err := n.tellPairs(); err != nil {
		return err
	}
	for _, d := range n.pairs {
		if err := d.SetMemory(n.life.Memory); err != nil {
			return err
		}
	}
	return nil
}

// start sets a ring up and gives it its tap, upon which it runs.
func (n *Net) start(i int, q virtio.Queue) error {
	pair, index := i/ringsPerPair, i%ringsPerPair
	d := n.pairs[pair]
	r, err := startRing(d, index, q, n.life, n.log != nil, n.spec.BusyPoll)
	if err != nil {
		return err
	}
	// Fd would make the tap blocking for the others who read it.
	raw, err := n.spec.Taps[pair].SyscallConn()
	if err == nil {
		var backendErr error
		err = errors.Join(raw.Control(func(fd uintptr) { backendErr = d.SetNetBackend(index, int(fd)) }), backendErr)
	}
	if err != nil {
		r.forget()
		return err
	}
	n.life.rings[i] = r
	if index == receiveRing {
		return nil // it waits for the tap
	}
	// What the driver offered before the ring ran has been kicked for already.
	return q.Kick.Signal()
}

// stop takes a ring's tap away, upon which it has stopped.
func (n *Net) stop(i int) {
	r := n.life.rings[i]
	if r == nil {
		return
	}
	n.tell(r.dev.SetNetBackend(r.index, NoFile))
	r.forget()
	n.life.rings[i] = nil
}

func (n *Net) stopAll() {
	for i := range n.life.rings {
		n.stop(i)
	}
	n.life.end()
	n.life = nil
}

// Reset implements virtio.RingServer.
func (n *Net) Reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life != nil {
		n.stopAll()
	}
}

// StopQueue implements virtio.RingServer.
func (n *Net) StopQueue(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life != nil && i < len(n.life.rings) {
		n.stop(i)
	}
}

// StartQueue implements virtio.RingServer.
func (n *Net) StartQueue(i int, q virtio.Queue) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil || i >= min(len(n.life.rings), ringsPerPair*len(n.pairs)) {
		return fmt.Errorf("kernel: vhost-net: start queue %d: not active", i)
	}
	return n.start(i, q)
}

// QueueAt tells which queue has its available ring at an address of this process: so is a ring known to whoever watches
// the kernel serve it.
func (n *Net) QueueAt(avail uint64) (queue uint16, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil {
		return 0, false
	}
	for i, r := range n.life.rings {
		if r != nil && r.addr.Avail == avail {
			return uint16(i), true
		}
	}
	return 0, false
}

// SetMemory has the rings go on in other memory: slots were added or removed.
func (n *Net) SetMemory(mem *memory.Space) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log != nil {
		if err := n.log.Covers(mem); err != nil {
			return fmt.Errorf("kernel: %s: set memory: %w", NetPath, err)
		}
	}
	for _, d := range n.pairs {
		if err := d.SetMemory(mem); err != nil {
			return err
		}
	}
	if n.life != nil {
		n.life.Memory = mem
	}
	return nil
}
