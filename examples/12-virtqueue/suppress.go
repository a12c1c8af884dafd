package main

import (
	"errors"
	"fmt"
	"time"

	"tandem/virtio/queue"
)

const (
	requests  = 20000
	queueSize = 64
	batch     = queueSize / 2
)

// A manner is how the two sides tell each other of what they have done.
type manner struct {
	name   string
	events bool // VIRTIO_F_EVENT_IDX
	always bool // no wish is heard or made
}

// suppression moves many requests between two threads, in three manners.
func suppression() error {
	fmt.Printf("%d requests, %d at a time, driver and device in threads of their own:\n", requests, batch)
	for _, m := range []manner{
		{name: "each is announced", always: true},
		{name: "flags"},
		{name: "event index", events: true},
	} {
		if err := measure(m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func measure(m manner) error {
	s, err := newSet(queueSize, m.events)
	if err != nil {
		return err
	}
	defer s.close()
	for i := range uint16(queueSize) {
		s.driver.describe(i, buffersAt+uint64(i)*16, 16, descWrite, 0)
	}
	served := make(chan error, 1)
	go func() { served <- s.serve(m) }()
	start := time.Now()
	err = s.drive(m)
	took := time.Since(start)
	if err != nil {
		s.kick.Close() // the device would wait for ever
	}
	if err := errors.Join(err, <-served); err != nil {
		return err
	}
	fmt.Printf("  %-18s %6d kicks %6d calls %6d ns a request\n", m.name+":", s.kicks, s.calls, took.Nanoseconds()/requests)
	return nil
}

// drive offers batches, and takes each back before the next. What it does between is what a driver does: it asks for
// no calls while it is busy with the ring, and when it finds nothing there it asks for one, looks again, and sleeps. An
// event index lets it sleep until its whole batch is back.
func (s *set) drive(m manner) error {
	d := s.driver
	for sent := 0; sent < requests; sent += batch {
		if !m.always {
			d.wantNoCall()
		}
		for i := range uint16(batch) {
			d.slot(i)
			d.publish()
			if wanted := d.wantsKick(); wanted || m.always {
				if err := s.ring(); err != nil {
					return err
				}
			}
		}
		for back := uint16(0); back < batch; {
			_, _, ok, err := d.take()
			if err != nil {
				return err
			}
			if ok {
				back++
				continue
			}
			if !m.always {
				d.wantCall(batch - back)
				if d.usedIndex() != d.used {
					d.wantNoCall()
					continue
				}
			}
			if _, err := s.call.Wait(); err != nil {
				return err
			}
			if !m.always {
				d.wantNoCall()
			}
		}
	}
	return nil
}

// serve answers requests, each by itself. The device asks for no kicks while it is at work, and before it sleeps it asks
// for one and looks once more.
func (s *set) serve(m manner) error {
	var c queue.Chain
	for done := 0; done < requests; {
		ok, err := s.device.Pop(&c)
		if err != nil {
			return err
		}
		if ok {
			s.device.Push(c.Head, answer(&c))
			s.device.Publish()
			done++
			continue
		}
		if !m.always && s.device.EnableKicks() {
			s.device.DisableKicks()
			continue
		}
		if _, err := s.kick.Wait(); err != nil {
			return err
		}
		if !m.always {
			s.device.DisableKicks()
		}
	}
	return nil
}
