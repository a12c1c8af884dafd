// Package stamp notes when a device's queues take each of their steps, for whoever wants to know afterwards, and costs
// the device about a hundred nanoseconds a step, most of which is the clock: it must not change what it measures.
//
//	virtqueue ── Observe ──>  +---+---+---+---+---+---+---+---+
//	  kick seen               |   | 7 | 8 | 9 | 10|   |   |   |   a ring of slots for each queue;
//	  chain popped            +---+---+---+---+---+---+---+---+   the oldest is overwritten
//	  frame sent                    ^               ^
//	  used published                |               next
//	  call sent                     where a reader is (Cursor)
//
// Nobody waits: a writer does not look whether somebody reads, and a reader who is too slow is told how many stamps he
// has missed. Each slot carries the number of its stamp, odd while it is being written, so that a reader knows what he
// has got in his hands (a sequence lock for each slot).
//
// Times are those of CLOCK_MONOTONIC, which is also the clock of BPF programs (bpf_ktime_get_ns): stamps of both stand
// on one line.
package stamp

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio/queue"
)

// Stamp is one step of a queue, and when it was taken.
type Stamp struct {
	Time int64 // nanoseconds of CLOCK_MONOTONIC
	queue.Event
}

// clock is CLOCK_MONOTONIC by way of package time, which asks for it without a system call. Package time's clock is read between
// two readings of the kernel's, and again if they are far apart: the scheduler may have come in between, and what is wrong here
// is wrong in all stamps.
var clock = func() (c struct {
	start time.Time
	at    int64
},
) {
	read := func() int64 {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it is always there
		return ts.Nano()
	}
	for tries, best := 0, int64(math.MaxInt64); tries < 8 && best > int64(2*time.Microsecond); tries++ {
		before := read()
		start := time.Now()
		if apart := read() - before; apart < best {
			c.start, c.at, best = start, before+apart/2, apart
		}
	}
	return c
}()

// Now is the time as stamps have it.
func Now() int64 { return clock.at + int64(time.Since(clock.start)) }

// At is the time of a stamp as package time has it.
func At(stamp int64) time.Time { return clock.start.Add(time.Duration(stamp - clock.at)) }

// slot is a stamp's place. All of it is atomic, as a reader may look while it is written: what he then gets does not
// have the right number before and after.
type slot struct {
	number               atomic.Uint64 // twice the stamp's number and 2 when it is whole, odd while it is written
	time, step, quantity atomic.Uint64
}

// ring keeps the latest stamps of one queue. Its writer is whoever uses the queue, who is one at a time.
type ring struct {
	slots []slot
	next  atomic.Uint64
}

func (r *ring) add(now int64, e queue.Event) {
	n := r.next.Load()
	s := &r.slots[n&uint64(len(r.slots)-1)]
	s.number.Store(2*n + 1)
	s.time.Store(uint64(now))
	s.step.Store(uint64(e.Stage)<<48 | uint64(e.Queue)<<32 | uint64(e.Head)<<16 | uint64(e.Index))
	s.quantity.Store(e.Length)
	s.number.Store(2*n + 2)
	r.next.Store(n + 1)
}

// read appends the stamps from number from on, and gives the number to go on from, and how many in between were
// overwritten.
func (r *ring) read(list []Stamp, from uint64) (stamps []Stamp, next, lost uint64) {
	end, size := r.next.Load(), uint64(len(r.slots))
	if end-from > size {
		lost = end - size - from
		from = end - size
	}
	for ; from < end; from++ {
		s := &r.slots[from&(size-1)]
		before := s.number.Load()
		step := s.step.Load()
		got := Stamp{Time: int64(s.time.Load()), Event: queue.Event{
			Stage: queue.Stage(step >> 48), Queue: uint16(step >> 32), Head: uint16(step >> 16), Index: uint16(step),
			Length: s.quantity.Load(),
		}}
		if before != 2*from+2 || s.number.Load() != before {
			lost++
			continue
		}
		list = append(list, got)
	}
	return list, from, lost
}

// Recorder keeps the latest stamps of a device's queues. It is a queue.Observer. Its methods may be called from any
// number of goroutines; each queue has one user at a time, as package queue wants it.
type Recorder struct {
	size    int
	making  sync.Mutex              // of a ring
	rings   atomic.Pointer[[]*ring] // by queue; nil for one that has said nothing yet
	waiting atomic.Bool
	wake    chan struct{}
}

// New makes a recorder of at least so many stamps for each queue.
func New(size int) *Recorder {
	n := 1
	for n < size {
		n *= 2
	}
	r := &Recorder{size: n, wake: make(chan struct{}, 1)}
	r.rings.Store(new([]*ring))
	return r
}

// Observe implements queue.Observer.
func (r *Recorder) Observe(e queue.Event) {
	now := Now()
	rings := *r.rings.Load()
	if int(e.Queue) >= len(rings) || rings[e.Queue] == nil {
		rings = r.grow(int(e.Queue))
	}
	rings[e.Queue].add(now, e)
	if r.waiting.Load() && r.waiting.CompareAndSwap(true, false) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// grow makes a queue's ring. The list is replaced, as others may be reading it.
func (r *Recorder) grow(queue int) []*ring {
	r.making.Lock()
	defer r.making.Unlock()
	rings := slices.Clone(*r.rings.Load())
	for len(rings) <= queue {
		rings = append(rings, nil)
	}
	if rings[queue] == nil {
		rings[queue] = &ring{slots: make([]slot, r.size)}
	}
	r.rings.Store(&rings)
	return rings
}

// Cursor is where a reader is. The zero Cursor is at the beginning.
type Cursor struct{ next []uint64 }

// Read appends to list what was stamped since the cursor was last used, in the order of time, and tells how many stamps
// were overwritten before they could be read.
func (r *Recorder) Read(list []Stamp, c *Cursor) (stamps []Stamp, lost uint64) {
	first := len(list)
	for i, ring := range *r.rings.Load() {
		if len(c.next) <= i {
			c.next = append(c.next, 0)
		}
		if ring == nil {
			continue
		}
		var missed uint64
		list, c.next[i], missed = ring.read(list, c.next[i])
		lost += missed
	}
	slices.SortStableFunc(list[first:], func(a, b Stamp) int { return cmp.Compare(a.Time, b.Time) })
	return list, lost
}

// behind tells whether there is something for the cursor to read.
func (r *Recorder) behind(c *Cursor) bool {
	for i, ring := range *r.rings.Load() {
		if ring != nil && (i >= len(c.next) || ring.next.Load() > c.next[i]) {
			return true
		}
	}
	return false
}

// Wait returns when there is something for the cursor to read, or ctx ends. One goroutine at a time may wait.
func (r *Recorder) Wait(ctx context.Context, c *Cursor) error {
	for {
		r.waiting.Store(true)
		if r.behind(c) {
			r.waiting.Store(false)
			return nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
