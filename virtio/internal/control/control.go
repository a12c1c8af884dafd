// Package control is what the register sets of the PCI and MMIO transports have in
// common: device status, feature negotiation, the registers of each queue, and the
// life of the device between DRIVER_OK and reset. virtio 1.2, sections 2 and 3.
//
//	driver writes            status              device
//
//	(reset)                  0                   stopped
//	ACKNOWLEDGE, DRIVER      3
//	features, FEATURES_OK    11   refused unless it is a subset of the offer
//	queues: areas, enable
//	DRIVER_OK                15                  Activate
//	                         79   NEEDS_RESET <- Fail
//	0                        0                   Reset, registers as new
//
// What a driver may not do has one of three answers here: a write that comes at the
// wrong time to a register that the driver may write otherwise (a queue moved while
// it runs, features after FEATURES_OK) changes nothing; features that were not
// offered leave FEATURES_OK unset, as the specification has it; all else that makes
// a device unusable (a queue of three entries, areas outside memory, DRIVER_OK
// before FEATURES_OK) is a failure of the device: it sets NEEDS_RESET and waits for
// that.
package control

import (
	"fmt"
	"sync"
	"sync/atomic"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Transport is what the PCI and MMIO transports do differently.
type Transport interface {
	// QueueInterrupt is what calls the driver for a queue.
	QueueInterrupt(queue int) queue.Interrupt
	// ConfigInterrupt tells the driver that the configuration changed. It is called
	// from any goroutine, also while another one is in SetStatus: it must not take
	// the lock that guards the Registers.
	ConfigInterrupt()
	// ResetTransport forgets interrupts that are pending and makes the registers
	// new that the transport has of its own. The device is stopped.
	ResetTransport()
}

// Options are what both transports pass through.
type Options struct {
	Direct   bool           // kicks are handled in the thread that writes them
	Observer queue.Observer // nil for nobody
	Report   func(error)    // nil for nobody
}

// Registers is the state that a driver sees and changes. The transport guards it
// with a lock of its own; the methods that say so need none.
type Registers struct {
	dev       virtio.Device
	mem       *memory.Space
	transport Transport
	opt       Options

	offered uint64 // features
	driver  uint64 // features that the driver wants
	queues  []Queue
	active  bool // between Activate and Reset

	// What is used without the lock.
	status atomic.Uint32
	life   atomic.Uint32 // counts activations: an old one must not fail a new one

	config     sync.RWMutex // see Activation.UpdateConfig
	generation atomic.Uint32
}

// Queue is the registers of one queue.
type Queue struct {
	Size    uint16
	Enabled bool
	Desc    uint64
	Avail   uint64
	Used    uint64

	max  uint16
	kick *eventfd.FD
}

// New makes the registers of a device, as after a reset.
func New(dev virtio.Device, mem *memory.Space, t Transport, opt Options) (*Registers, error) {
	r := &Registers{dev: dev, mem: mem, transport: t, opt: opt}
	r.offered = dev.Features() | 1<<virtio.FeatureVersion1
	if _, ok := dev.(virtio.QueueResetter); ok {
		r.offered |= 1 << virtio.FeatureRingReset
	}
	if _, ok := dev.(virtio.Notified); opt.Direct && !ok {
		return nil, fmt.Errorf("virtio: new %v: cannot handle kicks in the vCPU's thread", dev.Type())
	}
	for i, size := range dev.QueueSizes() {
		if size == 0 || size > queue.MaxSize || size&(size-1) != 0 {
			r.Close()
			return nil, fmt.Errorf("virtio: new %v: queue %d: size %d is not a power of two up to %d", dev.Type(), i, size, queue.MaxSize)
		}
		kick, err := eventfd.New()
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("virtio: new %v: queue %d: %w", dev.Type(), i, err)
		}
		r.queues = append(r.queues, Queue{Size: size, max: size, kick: kick})
	}
	return r, nil
}

// Close stops the device and closes the kicks.
func (r *Registers) Close() {
	r.reset()
	for i := range r.queues {
		r.queues[i].kick.Close()
	}
}

// Report passes on an error that has nowhere else to go. Needs no lock.
func (r *Registers) Report(err error) {
	if r.opt.Report != nil {
		r.opt.Report(err)
	}
}

// NumQueues is how many queues there are. Needs no lock.
func (r *Registers) NumQueues() int { return len(r.queues) }

// Kick is the eventfd that wakes whoever serves a queue. Needs no lock.
func (r *Registers) Kick(i int) *eventfd.FD { return r.queues[i].kick }

// Notify is a driver's notification that reached the transport as a write. A queue
// that does not exist is ignored. Needs no lock, and must be called without it: a
// device may serve the queue right here.
func (r *Registers) Notify(i int) {
	if i < 0 || i >= len(r.queues) {
		return
	}
	if r.opt.Direct {
		r.dev.(virtio.Notified).Notify(i)
		return
	}
	if err := r.queues[i].kick.Signal(); err != nil {
		r.Report(fmt.Errorf("virtio: notify %v queue %d: %w", r.dev.Type(), i, err))
	}
}

// DeviceFeatures is word sel of the offered features, 32 bits each.
func (r *Registers) DeviceFeatures(sel uint32) uint32 { return word(r.offered, sel) }

// DriverFeatures is word sel of what the driver wants.
func (r *Registers) DriverFeatures(sel uint32) uint32 { return word(r.driver, sel) }

func word(features uint64, sel uint32) uint32 {
	if sel > 1 {
		return 0
	}
	return uint32(features >> (32 * sel))
}

// SetDriverFeatures sets word sel of what the driver wants. It changes nothing once
// the features were agreed upon, and there are no words beyond 1.
func (r *Registers) SetDriverFeatures(sel, v uint32) {
	if sel > 1 || r.Status()&virtio.StatusFeaturesOK != 0 {
		return
	}
	shift := 32 * sel
	r.driver = r.driver&^(0xffffffff<<shift) | uint64(v)<<shift
}

// Generation counts the changes of the configuration space. Needs no lock.
func (r *Registers) Generation() uint32 {
	r.config.RLock()
	defer r.config.RUnlock()
	return r.generation.Load()
}

// ReadConfig reads the device's configuration space. Needs no lock.
func (r *Registers) ReadConfig(off uint32, p []byte) {
	r.config.RLock()
	defer r.config.RUnlock()
	clear(p)
	r.dev.ReadConfig(off, p)
}

// WriteConfig writes it. Needs no lock.
func (r *Registers) WriteConfig(off uint32, p []byte) { r.dev.WriteConfig(off, p) }

func (r *Registers) updateConfig(change func()) {
	r.config.Lock()
	change()
	r.generation.Add(1)
	r.config.Unlock()
	r.transport.ConfigInterrupt()
}
