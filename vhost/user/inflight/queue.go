package inflight

import (
	"cmp"
	"slices"
	"sync/atomic"

	"tandem/virtio/queue"
)

// Queue tracks the requests of one queue: a queue.Tracker.
type Queue struct {
	size    uint16
	desc    []state
	header  *atomic.Uint32 // version and desc_num
	last    *atomic.Uint32 // last_batch_head and used_idx
	counter uint64
	batch   []uint16 // pushed, not yet published
}

var _ queue.Tracker = (*Queue)(nil)

// state is a DescStateSplit: inflight is the lowest byte of the first word, next the
// two highest.
type state struct{ flags, counter *atomic.Uint64 }

func newQueue(b []byte, size uint16) *Queue {
	q := &Queue{
		size:   size,
		desc:   make([]state, size),
		header: word32(b, headerVersion),
		last:   word32(b, headerUsed),
		batch:  make([]uint16, 0, size),
	}
	for i := range q.desc {
		at := headerSize + descSize*i
		q.desc[i] = state{word64(b, at), word64(b, at+descCounter)}
	}
	return q
}

func (s state) inFlight() bool { return s.flags.Load()&0xff != 0 }

func (s state) set(inFlight uint64) { s.flags.Store(s.flags.Load()&^0xff | inFlight) }

func (s state) next() uint16 { return uint16(s.flags.Load() >> 48) }

func (s state) setNext(head uint16) { s.flags.Store(s.flags.Load()&(1<<48-1) | uint64(head)<<48) }

func (q *Queue) lastHead() uint16 { return uint16(q.last.Load()) }

func (q *Queue) usedIdx() uint16 { return uint16(q.last.Load() >> 16) }

func (q *Queue) setLast(head, used uint16) { q.last.Store(uint32(head) | uint32(used)<<16) }

// Recover makes sense of what a back-end left behind whose ring has come to the used
// index, and gives the heads of the chains that it took and did not finish, in the
// order in which it took them. An area that nobody has used is made ready.
func (q *Queue) Recover(used uint16) []uint16 {
	if uint16(q.header.Load()) == 0 {
		for _, d := range q.desc {
			d.flags.Store(0)
		}
		q.setLast(0, used)
		// The version is what says that the rest is there: it comes last.
		q.header.Store(version | uint32(q.size)<<16)
		return nil
	}
	q.finishBatch(used)
	var heads []uint16
	counters := make([]uint64, q.size)
	for i, d := range q.desc {
		if d.inFlight() {
			heads = append(heads, uint16(i))
			counters[i] = d.counter.Load()
			q.counter = max(q.counter, counters[i]+1)
		}
	}
	slices.SortStableFunc(heads, func(a, b uint16) int { return cmp.Compare(counters[a], counters[b]) })
	return heads
}

// finishBatch does what came after the ring's used index was raised. The list may be
// anything: as many of it are followed as there can be.
func (q *Queue) finishBatch(used uint16) {
	head := q.lastHead()
	for n := used - q.usedIdx(); n > 0 && n <= q.size && head < q.size; n-- {
		q.desc[head].set(0)
		head = q.desc[head].next()
	}
	q.setLast(q.lastHead(), used)
}

// Popped implements queue.Tracker.
func (q *Queue) Popped(head uint16) {
	if head >= q.size {
		return // the queue checked it; an index of ours is checked where it is used
	}
	d := q.desc[head]
	d.counter.Store(q.counter)
	q.counter++
	d.set(1)
}

// Pushed implements queue.Tracker.
func (q *Queue) Pushed(head uint16) {
	if head >= q.size {
		return
	}
	q.desc[head].setNext(q.lastHead())
	q.setLast(head, q.usedIdx())
	q.batch = append(q.batch, head)
}

// Published implements queue.Tracker.
func (q *Queue) Published(used uint16) {
	for _, head := range q.batch {
		q.desc[head].set(0)
	}
	q.batch = q.batch[:0]
	q.setLast(q.lastHead(), used)
}
