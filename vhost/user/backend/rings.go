package backend

import (
	"errors"
	"fmt"

	"tandem/virtio"
)

// apply starts the rings that are ready and stops those that are not any more. On an
// error nothing runs.
func (s *session) apply() error {
	var start []*ring
	for _, r := range s.rings {
		switch ready := r.ready(); {
		case ready && r.queue == nil:
			start = append(start, r)
		case !ready && r.queue != nil:
			s.stopRing(r)
		}
	}
	if len(start) == 0 {
		return nil
	}
	if dev, ok := s.dev.(virtio.QueueResetter); ok && s.active && !s.failed.Load() {
		return s.startSome(dev, start)
	}
	return s.startAll()
}

// startSome adds rings to a device that runs.
func (s *session) startSome(dev virtio.QueueResetter, start []*ring) error {
	for _, r := range start {
		q, err := r.make()
		if err == nil {
			err = dev.StartQueue(r.index, q)
		}
		if err != nil {
			s.stopAll()
			return fmt.Errorf("start ring %d: %w", r.index, err)
		}
		r.Signal()
	}
	return nil
}

// startAll starts the device with all rings that are ready.
func (s *session) startAll() error {
	s.stopAll()
	if s.features&(1<<virtio.FeatureVersion1) == 0 {
		return errors.New("a driver without VIRTIO_F_VERSION_1: not supported")
	}
	a := &virtio.Activation{
		Memory:       s.table.space,
		Features:     s.features &^ s.notDevices(),
		Queues:       make([]virtio.Queue, len(s.rings)),
		UpdateConfig: s.updateConfig,
		Fail:         s.fail,
	}
	for _, r := range s.rings {
		if !r.ready() {
			continue
		}
		q, err := r.make()
		if err != nil {
			s.stopAll()
			return fmt.Errorf("start ring %d: %w", r.index, err)
		}
		a.Queues[r.index] = q
	}
	s.failed.Store(false)
	if err := s.dev.Activate(a); err != nil {
		s.stopAll()
		return err
	}
	s.active = true
	for _, r := range s.rings {
		if r.queue != nil {
			// The one who served the ring before may have died before its call.
			r.Signal()
		}
	}
	return nil
}

// notDevices are the bits that the protocol put between the driver's.
func (s *session) notDevices() uint64 {
	return s.offered() &^ (s.dev.Features() | 1<<virtio.FeatureVersion1)
}

// stopRing stops one ring; the others go on, or are started again by the next apply.
func (s *session) stopRing(r *ring) {
	if r.queue == nil {
		return
	}
	dev, ok := s.dev.(virtio.QueueResetter)
	last := true
	for _, other := range s.rings {
		last = last && (other == r || other.queue == nil)
	}
	if !ok || !s.active || last {
		s.stopAll()
		return
	}
	r.hangUp()
	dev.StopQueue(r.index)
	r.stopped()
}

// stopAll stops the device.
func (s *session) stopAll() {
	for _, r := range s.rings {
		r.hangUp()
	}
	if s.active {
		s.dev.Reset()
		s.active = false
	}
	for _, r := range s.rings {
		r.stopped()
	}
}
