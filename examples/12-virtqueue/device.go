package main

import (
	"fmt"

	"tandem/internal/eventfd"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// bells are the two ways to wake the other side.
type bells struct {
	kick, call   *eventfd.FD
	kicks, calls int
}

func newBells() (*bells, error) {
	kick, err := eventfd.New()
	if err != nil {
		return nil, err
	}
	call, err := eventfd.New()
	if err != nil {
		kick.Close()
		return nil, err
	}
	return &bells{kick: kick, call: call}, nil
}

// ring is the driver's kick.
func (b *bells) ring() error {
	b.kicks++
	return b.kick.Signal()
}

// Signal is the device's call: bells is a queue.Interrupt.
func (b *bells) Signal() {
	b.calls++
	_ = b.call.Signal() // it fails when it is closed, and then nobody waits
}

// Event is for those who serve a queue elsewhere.
func (b *bells) Event() *eventfd.FD { return b.call }

func (b *bells) close() {
	b.kick.Close()
	b.call.Close()
}

// set is a driver and a device at one virtqueue.
type set struct {
	driver *driver
	device *queue.Queue
	*bells
	region memory.Region
}

func newSet(size uint16, events bool) (s *set, err error) {
	s = &set{}
	if s.bells, err = newBells(); err != nil {
		return nil, err
	}
	if s.region, err = memory.Map(0, memorySize); err != nil {
		s.bells.close()
		return nil, err
	}
	space, err := memory.New(s.region)
	if err == nil {
		s.device, err = queue.New(space, queue.Config{
			Size: size, Desc: descAt, Avail: availAt, Used: usedAt, EventIdx: events, Interrupt: s.bells,
		})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.driver = &driver{memory: s.region.Bytes, size: size, events: events}
	return s, nil
}

func (s *set) close() {
	s.bells.close()
	_ = s.region.Unmap() // it was mapped
}

// answer is what this device does with a chain: it reads one part, and writes its length into the other.
func answer(c *queue.Chain) uint32 {
	text := fmt.Appendf(nil, "%d bytes", c.ReadLen)
	return uint32(copy(c.Writable[0], text))
}
