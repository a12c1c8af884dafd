package balloon

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/memory"
)

// Feature bits. virtio 1.2, section 5.5.3.
const (
	FeatureStats        = 1 // VIRTIO_BALLOON_F_STATS_VQ
	FeatureDeflateOnOOM = 2 // VIRTIO_BALLOON_F_DEFLATE_ON_OOM
	FeaturePagePoison   = 4 // VIRTIO_BALLOON_F_PAGE_POISON
	FeatureReporting    = 5 // VIRTIO_BALLOON_F_REPORTING
)

// The queues. virtio 1.2, section 5.5.2.
const (
	inflateQueue = 0
	deflateQueue = 1
	statsQueue   = 2
	queues       = 5

	queueSize = 128
)

// PageSize is the size of a page of the balloon.
const PageSize = 4096

// Spec is the balloon that is wanted.
type Spec struct {
	// Target is how many bytes the balloon takes from the guest at first: a multiple of PageSize.
	Target uint64
	// Keep leaves the balloon as it is when the guest runs out of memory: VIRTIO_BALLOON_F_DEFLATE_ON_OOM is not offered.
	Keep bool
	// NoReporting does not ask the guest for its free pages.
	NoReporting bool
	// Report, if not nil, is told when the host did not take memory back.
	Report func(error)
}

// Device is a memory balloon. It implements virtio.Device, virtio.QueueResetter and virtio.Notified.
type Device struct {
	spec    Spec
	workers virtio.Workers
	count   counters
	stats   statistics

	mu     sync.Mutex // guards what follows
	config config
	update func(func()) // Activation.UpdateConfig, while active
	kick   *eventfd.FD  // of the statistics queue

	// What belongs to an activation.
	agreed uint64
	mem    *memory.Space
	shared bool // memory is in files
}

type counters struct {
	inflated, deflated, reported, kept, refused, failed atomic.Uint64
	told                                                atomic.Bool // of a failure
}

// Counters are bytes since the device was made, but for Refused.
type Counters struct {
	Inflated uint64 `json:"inflated"` // given back by the balloon
	Deflated uint64 `json:"deflated"` // taken by the guest again
	Reported uint64 `json:"reported"` // given back as free
	Kept     uint64 `json:"kept"`     // reported as free, and kept: see VIRTIO_BALLOON_F_PAGE_POISON
	Failed   uint64 `json:"failed"`   // which the host did not take
	Refused  uint64 `json:"refused"`  // page numbers that are not guest memory
}

// New makes a balloon.
func New(spec Spec) (*Device, error) {
	if err := checkTarget(spec.Target); err != nil {
		return nil, fmt.Errorf("virtio/balloon: %w", err)
	}
	d := &Device{spec: spec}
	d.config.pages = uint32(spec.Target / PageSize)
	return d, nil
}

// Counters tells what the balloon has moved.
func (d *Device) Counters() Counters {
	c := &d.count
	return Counters{
		Inflated: c.inflated.Load(), Deflated: c.deflated.Load(), Reported: c.reported.Load(),
		Kept: c.kept.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(),
	}
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeBalloon }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := virtio.RingFeatures | 1<<FeatureStats | 1<<FeaturePagePoison
	if !d.spec.Keep {
		f |= 1 << FeatureDeflateOnOOM
	}
	if !d.spec.NoReporting {
		f |= 1 << FeatureReporting
	}
	return f
}

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, queues)
	for i := range sizes {
		sizes[i] = queueSize
	}
	return sizes
}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	d.agreed, d.mem, d.shared = a.Features, a.Memory, false
	for _, r := range a.Memory.Regions() {
		d.shared = d.shared || r.File != nil
	}
	d.mu.Lock()
	d.update = a.UpdateConfig
	if a.Has(FeatureStats) && a.Queues[statsQueue].Queue != nil {
		d.kick = a.Queues[statsQueue].Kick
	}
	d.mu.Unlock()
	d.workers.Start(a, d.serveOf)
	return nil
}

func (d *Device) serveOf(queue int) virtio.Serve {
	switch {
	case queue == inflateQueue:
		return (&pages{device: d, do: d.inflate}).serve
	case queue == deflateQueue:
		return (&pages{device: d, do: d.deflate}).serve
	case queue == statsQueue && d.has(FeatureStats):
		return (&statsServer{device: d}).serve
	}
	return d.serveReport
}

func (d *Device) has(bit uint) bool { return d.agreed&(1<<bit) != 0 }

// Reset implements virtio.Device: the driver that comes next has an empty balloon.
func (d *Device) Reset() {
	d.mu.Lock()
	d.update, d.kick = nil, nil
	d.mu.Unlock()
	d.workers.Stop()
	d.stats.forget()
	d.mu.Lock()
	d.config.actual, d.config.poison = 0, 0
	d.mu.Unlock()
}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {
	if i == statsQueue {
		d.setKick(nil)
	}
	d.workers.StopQueue(i)
}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	if i == statsQueue && d.has(FeatureStats) {
		d.setKick(q.Kick)
	}
	d.workers.StartQueue(i, q)
	return nil
}

func (d *Device) setKick(e *eventfd.FD) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kick = e
}

// Notify implements virtio.Notified.
func (d *Device) Notify(i int) { d.workers.Notify(i) }

// idle is what a virtio.Serve returns that keeps the driver's buffer.
var idle error = virtio.Later(time.Hour)

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
