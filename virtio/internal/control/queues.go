package control

import (
	"errors"
	"fmt"

	"tandem/virtio"
)

// MaxSize is the largest size of a queue, 0 if there is no such queue.
func (r *Registers) MaxSize(i uint32) uint16 {
	if i >= uint32(len(r.queues)) {
		return 0
	}
	return r.queues[i].max
}

// Queue is the registers of a queue for reading, all 0 if there is no such queue.
func (r *Registers) Queue(i uint32) Queue {
	if i >= uint32(len(r.queues)) {
		return Queue{}
	}
	return r.queues[i]
}

// Change runs change on the registers of a queue, for its size and areas. It does
// not while the queue is enabled, or if there is no such queue: a driver cannot
// move a queue that runs. Values are checked when the device starts.
func (r *Registers) Change(i uint32, change func(q *Queue)) {
	if i >= uint32(len(r.queues)) || r.queues[i].Enabled {
		return
	}
	change(&r.queues[i])
}

// Enable enables a queue. On an active device it only does so for a queue that was
// reset, if the two sides agreed on VIRTIO_F_RING_RESET: the others are those that
// the device was started with.
func (r *Registers) Enable(i uint32) {
	if i >= uint32(len(r.queues)) || r.queues[i].Enabled {
		return
	}
	if r.Status()&virtio.StatusDriverOK == 0 {
		r.queues[i].Enabled = true
		return
	}
	dev, ok := r.resetter()
	if !ok {
		return
	}
	q, err := r.makeQueue(int(i))
	if err == nil {
		err = dev.StartQueue(int(i), q)
	}
	if err != nil {
		r.fail(err)
		return
	}
	r.queues[i].Enabled = true
}

// ResetQueue stops one queue and makes its registers new. virtio 1.2, section
// 2.6.1. Without VIRTIO_F_RING_RESET it changes nothing.
func (r *Registers) ResetQueue(i uint32) {
	if i >= uint32(len(r.queues)) || !r.has(virtio.FeatureRingReset) {
		return
	}
	if dev, ok := r.resetter(); ok && r.queues[i].Enabled {
		dev.StopQueue(int(i))
	}
	r.queues[i].reset()
}

// Disable stops one queue and keeps its registers (QueueReady, virtio 1.2, section
// 4.2.2.2: it needs no feature bit). A device that cannot do that to a queue in use
// needs a reset.
func (r *Registers) Disable(i uint32) {
	if i >= uint32(len(r.queues)) || !r.queues[i].Enabled {
		return
	}
	if r.active {
		dev, ok := r.dev.(virtio.QueueResetter)
		if !ok {
			r.fail(fmt.Errorf("queue %d was disabled: %w", i, errors.ErrUnsupported))
			return
		}
		dev.StopQueue(int(i))
	}
	r.queues[i].Enabled = false
}

// resetter is the device if it runs and if single queues of it may be started and
// stopped.
func (r *Registers) resetter() (virtio.QueueResetter, bool) {
	dev, ok := r.dev.(virtio.QueueResetter)
	return dev, ok && r.active && r.has(virtio.FeatureRingReset)
}
