package main

import (
	"sync"
	"time"

	"tandem/virtio/queue"
)

// hops are when a frame came by, in nanoseconds of CLOCK_REALTIME: it is the clock of the stamps on packet sockets, and the
// same in all processes. 0 where nobody looked.
type hops [numHops]int64

const (
	raised = iota
	kickSeen
	popped
	onLink
	sent
	published
	called
	woken
	goesOn
	numHops
)

var hopNames = [numHops]string{
	"driver: idx raised",
	"device: kick seen",
	"device: chain popped",
	"host: on the tap's link",
	"device: write() came back",
	"device: used idx raised",
	"device: called",
	"driver: woken by the call",
	"driver: back from the kick",
}

func now() int64 { return time.Now().UnixNano() }

// recorder stamps what the device says of its transmit queue. It is a queue.Observer.
type recorder struct {
	mu   sync.Mutex
	kick int64
	list []hops
}

const transmitQueue = 1

func (r *recorder) Observe(e queue.Event) {
	if e.Queue != transmitQueue {
		return
	}
	t := now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Stage {
	case queue.KickSeen:
		r.kick = t
		return
	case queue.ChainPopped:
		var h hops
		h[kickSeen], h[popped] = r.kick, t
		r.kick = 0
		r.list = append(r.list, h)
		return
	}
	if len(r.list) == 0 {
		return
	}
	h := &r.list[len(r.list)-1]
	switch e.Stage {
	case queue.FrameSent:
		h[sent] = t
	case queue.UsedPublished:
		h[published] = t
	case queue.CallSent:
		h[called] = t
	}
}

func (r *recorder) take() []hops {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}

// merge puts the device's stamps beside the driver's.
func merge(driver, device []hops) []hops {
	for i := range min(len(driver), len(device)) {
		for hop, t := range device[i] {
			if t != 0 {
				driver[i][hop] = t
			}
		}
	}
	return driver
}
