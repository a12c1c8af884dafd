package control

import (
	"errors"
	"fmt"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// driverStatus are the bits that a driver sets.
const driverStatus = virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusDriverOK |
	virtio.StatusFeaturesOK | virtio.StatusFailed

// Status is the device status register. Needs no lock, so that a driver can watch
// it while a reset is in flight.
func (r *Registers) Status() uint8 { return uint8(r.status.Load()) }

// SetStatus is a driver's write to the device status register. 0 resets the device,
// and returns when nothing is in flight. Other values only add bits: a driver must
// not clear one (virtio 1.2, section 2.1.1).
func (r *Registers) SetStatus(v uint8) {
	if v == 0 {
		r.reset()
		return
	}
	old := r.Status()
	added := v & driverStatus &^ old
	if added&virtio.StatusFeaturesOK != 0 && !r.acceptFeatures() {
		added &^= virtio.StatusFeaturesOK
	}
	start := added&virtio.StatusDriverOK != 0 && old&virtio.StatusNeedsReset == 0
	// DRIVER_OK has to be there before the device runs: it may fail at once, and
	// tells the driver only if that is set.
	r.status.Or(uint32(added))
	if start {
		r.activate()
	}
}

// acceptFeatures tells whether the driver's features can be agreed upon. virtio
// 1.2, sections 2.2.1 and 6.1: what was not offered cannot, nor can a legacy
// driver.
func (r *Registers) acceptFeatures() bool {
	return r.driver&^r.offered == 0 && r.driver&(1<<virtio.FeatureVersion1) != 0
}

func (r *Registers) has(feature uint) bool { return r.driver&(1<<feature) != 0 }

// activate starts the device with the queues that the driver enabled.
func (r *Registers) activate() {
	life := r.life.Add(1)
	fail := func(err error) {
		if r.life.Load() == life {
			r.fail(err)
		}
	}
	if r.Status()&virtio.StatusFeaturesOK == 0 {
		fail(errors.New("DRIVER_OK before FEATURES_OK"))
		return
	}
	a := &virtio.Activation{
		Memory:       r.mem,
		Features:     r.driver,
		Queues:       make([]virtio.Queue, len(r.queues)),
		UpdateConfig: r.updateConfig,
		Fail:         fail,
	}
	for i := range r.queues {
		if !r.queues[i].Enabled {
			continue
		}
		q, err := r.makeQueue(i)
		if err != nil {
			fail(err)
			return
		}
		a.Queues[i] = q
	}
	if err := r.dev.Activate(a); err != nil {
		fail(err)
		return
	}
	r.active = true
}

func (r *Registers) makeQueue(i int) (virtio.Queue, error) {
	g := &r.queues[i]
	if g.Size > g.max {
		return virtio.Queue{}, fmt.Errorf("queue %d: size %d: more than %d", i, g.Size, g.max)
	}
	q, err := queue.New(r.mem, queue.Config{
		Index:     i,
		Size:      g.Size,
		Desc:      g.Desc,
		Avail:     g.Avail,
		Used:      g.Used,
		Indirect:  r.has(virtio.FeatureIndirectDesc),
		EventIdx:  r.has(virtio.FeatureEventIdx),
		Interrupt: r.transport.QueueInterrupt(i),
		Observer:  r.opt.Observer,
	})
	if err != nil {
		return virtio.Queue{}, err
	}
	return virtio.Queue{Queue: q, Kick: g.kick}, nil
}

// fail asks the driver for a reset. virtio 1.2, section 2.1.2. It runs in the
// device's goroutines too, and so takes no lock.
func (r *Registers) fail(err error) {
	old := r.status.Or(virtio.StatusNeedsReset)
	if old&virtio.StatusNeedsReset != 0 {
		return
	}
	r.Report(fmt.Errorf("virtio: %v needs a reset: %w", r.dev.Type(), err))
	if old&virtio.StatusDriverOK != 0 {
		r.transport.ConfigInterrupt()
	}
}

// reset stops the device and makes the registers new. The status becomes 0 last: a
// driver that reads it knows that all of it has happened.
func (r *Registers) reset() {
	if r.active {
		r.dev.Reset()
		r.active = false
	}
	r.life.Add(1) // whatever fails from here on belonged to the past
	r.driver = 0
	for i := range r.queues {
		r.queues[i].reset()
	}
	r.transport.ResetTransport()
	r.status.Store(0)
}

func (q *Queue) reset() {
	*q = Queue{Size: q.max, max: q.max, kick: q.kick}
	// A kick for the queue that was must not wake the one that comes. The error is
	// that the eventfd is closed.
	_, _ = q.kick.Clear()
}
