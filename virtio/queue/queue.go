package queue

import (
	"encoding/binary"

	"tandem/virtio/internal/atomic16"
	"tandem/virtio/memory"
)

// Flags in the rings. virtio 1.2, sections 2.7.7, 2.7.10.
const (
	availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT
	usedNoNotify     = 1 // VIRTQ_USED_F_NO_NOTIFY
)

// Queue is the device's side of one split virtqueue. One goroutine at a time may
// use it.
//
// The four counters below are free-running indices modulo 65536, in the order in
// which chains pass them; their differences never exceed the queue's size:
//
//	published <= pushed <= next <= seen
type Queue struct {
	cfg  Config
	mem  *memory.Space
	size uint16
	areas

	availFlags, availIdx, usedEvent *uint16 // the driver writes, the device reads
	usedFlags, usedIdx, availEvent  *uint16 // the device writes, the driver reads

	seen      uint16 // the driver's available index when it was last loaded
	next      uint16 // the chain that Pop takes next
	pushed    uint16 // the slot of the used ring that Push fills next
	published uint16 // the used index that the driver can see

	resume   []uint16 // Config.Resume, until they were all pushed
	kicksOff bool     // DisableKicks is in force
	broken   error    // what Pop failed with: for good
	trail    []Event  // what Publish has to tell the observer of
	marks    *marks   // nil without a Marker
}

// New checks where a driver put its queue and makes the device's side of it.
func New(mem *memory.Space, cfg Config) (*Queue, error) {
	a, err := cfg.find(mem)
	if err != nil {
		return nil, err
	}
	n := int(cfg.Size)
	q := &Queue{
		cfg:   cfg,
		mem:   mem,
		size:  cfg.Size,
		areas: a,

		availFlags: atomic16.At(a.avail, ringFlags),
		availIdx:   atomic16.At(a.avail, ringIdx),
		usedEvent:  atomic16.At(a.avail, ringSlots+n*availSlot),
		usedFlags:  atomic16.At(a.used, ringFlags),
		usedIdx:    atomic16.At(a.used, ringIdx),
		availEvent: atomic16.At(a.used, ringSlots+n*usedSlot),

		seen:      cfg.Start + uint16(len(cfg.Resume)),
		next:      cfg.Start,
		pushed:    cfg.Start,
		published: cfg.Start,
		resume:    cfg.Resume,
		marks:     newMarks(&cfg),
	}
	// One who died while serving the queue may have left them off.
	q.kicksOff = atomic16.Load(q.usedFlags)&usedNoNotify != 0
	return q, nil
}

// Config is what the queue was made from.
func (q *Queue) Config() Config { return q.cfg }

// Next is the available index of the chain that Pop takes next: where somebody else
// would go on serving the queue, if nothing is in flight.
func (q *Queue) Next() uint16 { return q.next }

// UsedIndex reads the used index out of guest memory: how far whoever serves the
// queue elsewhere has come.
func (q *Queue) UsedIndex() uint16 { return atomic16.Load(q.usedIdx) }

// InFlight is how many chains were popped and not yet pushed.
func (q *Queue) InFlight() uint16 { return q.next - q.pushed }

// Pop takes the next available chain into c and tells whether there was one. An
// error is an *Error: the ring is broken, and so is every later Pop.
func (q *Queue) Pop(c *Chain) (bool, error) {
	if q.broken != nil {
		return false, q.broken
	}
	if q.next == q.seen {
		if err := q.look(); err != nil {
			return false, q.fail(err)
		}
		if q.next == q.seen {
			return false, nil
		}
	}
	c.reset(q.head(), q.next)
	if err := q.walk(c); err != nil {
		return false, q.fail(err)
	}
	if t := q.cfg.Tracker; t != nil {
		t.Popped(c.Head)
	}
	q.next++
	if o := q.cfg.Observer; o != nil {
		o.Observe(Event{
			Stage: ChainPopped, Queue: uint16(q.cfg.Index),
			Head: c.Head, Index: c.Index, Length: c.ReadLen + c.WriteLen,
		})
	}
	return true, nil
}

// head is the chain that is next.
func (q *Queue) head() uint16 {
	if i := int(q.next - q.cfg.Start); i < len(q.resume) {
		return q.resume[i]
	}
	slot := int(q.next & (q.size - 1))
	return binary.LittleEndian.Uint16(q.avail[ringSlots+slot*availSlot:])
}

// look loads the available index. A driver owns at most as many chains as the queue
// has entries, counting those that are in flight in the device: an index beyond
// that, or one that went backwards, is not a ring's any more.
func (q *Queue) look() *Error {
	idx := atomic16.Load(q.availIdx)
	if room := q.size - q.InFlight(); idx-q.next > room {
		return &Error{
			Index:  idx,
			Reason: reasonf("available index jumped by %d from %d with room for %d chains", idx-q.next, q.next, room),
		}
	}
	q.seen = idx
	return nil
}

// Rewind puts back the n chains that were popped last, to be popped again. None of
// them, and none popped after them, may have been pushed.
func (q *Queue) Rewind(n uint16) {
	if n > q.InFlight() {
		panic("queue: rewind over chains that were pushed")
	}
	q.next -= n
}

// Push gives a popped chain back to the driver: the device wrote the first written
// bytes of its writable part. Chains may be pushed in any order. The driver sees it
// with the next Publish.
func (q *Queue) Push(head uint16, written uint32) {
	if q.InFlight() == 0 {
		panic("queue: push of a chain that was not popped")
	}
	slot := int(q.pushed & (q.size - 1))
	elem := q.used[ringSlots+slot*usedSlot:][:usedSlot]
	binary.LittleEndian.PutUint32(elem, uint32(head))
	binary.LittleEndian.PutUint32(elem[4:], written)
	if q.marks != nil {
		q.marks.pushed(head, slot)
	}
	if q.cfg.Observer != nil {
		q.trail = append(q.trail, Event{
			Stage: UsedPublished, Queue: uint16(q.cfg.Index),
			Head: head, Index: q.pushed, Length: uint64(written),
		})
	}
	if t := q.cfg.Tracker; t != nil {
		t.Pushed(head)
	}
	q.pushed++
	// As many were pushed as were to be resumed: Rewind cannot come back to them.
	if len(q.resume) > 0 && q.pushed == q.cfg.Start+uint16(len(q.resume)) {
		q.resume = nil
	}
}

// Publish lets the driver see what was pushed, and calls it if it asked for that.
// To publish several chains at once costs less than one by one.
func (q *Queue) Publish() {
	if q.pushed == q.published {
		return
	}
	old := q.published
	atomic16.Store(q.usedIdx, q.pushed)
	q.published = q.pushed
	if q.marks != nil {
		q.markIdx()
	}
	if t := q.cfg.Tracker; t != nil {
		t.Published(q.published)
	}
	if o := q.cfg.Observer; o != nil {
		for _, e := range q.trail {
			o.Observe(e)
		}
		q.trail = q.trail[:0]
	}
	if !q.wantsCall(old) {
		return
	}
	q.cfg.Interrupt.Signal()
	if o := q.cfg.Observer; o != nil {
		o.Observe(Event{Stage: CallSent, Queue: uint16(q.cfg.Index), Index: q.published})
	}
}

// wantsCall tells whether the driver wants to hear that the used index moved from
// old to where it is now. The fence in Store stands before the loads here: the
// driver writes its wish, and then looks at the used index.
func (q *Queue) wantsCall(old uint16) bool {
	if !q.cfg.EventIdx {
		return atomic16.Load(q.availFlags)&availNoInterrupt == 0
	}
	return passed(atomic16.Load(q.usedEvent), old, q.published)
}

// passed tells whether an index that went from old to now left event behind: event
// is one of old, old+1, ..., now-1, modulo 65536. virtio 1.2, section 2.7.10.
func passed(event, old, now uint16) bool {
	return now-event-1 < now-old
}

// DisableKicks asks the driver for no more kicks, while the device is looking at
// the ring anyway. It is a hint: they may still come.
func (q *Queue) DisableKicks() {
	// With event indices there is nothing to do: the driver kicks when it passes
	// availEvent, which it did already.
	if q.cfg.EventIdx || q.kicksOff {
		return
	}
	atomic16.Store(q.usedFlags, usedNoNotify)
	q.kicksOff = true
	if q.marks != nil {
		q.markFlags()
	}
}

// EnableKicks asks for a kick with the next available chain, and tells whether
// there are chains already, which no kick will announce: the caller must look at
// them before it waits.
func (q *Queue) EnableKicks() (more bool) {
	switch {
	case q.cfg.EventIdx:
		atomic16.Store(q.availEvent, q.next)
		if q.marks != nil {
			q.markAvailEvent()
		}
	case q.kicksOff:
		atomic16.Store(q.usedFlags, 0)
		q.kicksOff = false
		if q.marks != nil {
			q.markFlags()
		}
	}
	// The fence in Store stands between the wish and this load: the driver raises
	// the index, and then looks whether a kick is wanted.
	return atomic16.Load(q.availIdx) != q.next
}

// Kicked tells the observer that the device woke up and looks at the ring.
func (q *Queue) Kicked() {
	o := q.cfg.Observer
	if o == nil {
		return
	}
	idx := atomic16.Load(q.availIdx)
	o.Observe(Event{Stage: KickSeen, Queue: uint16(q.cfg.Index), Index: idx, Length: uint64(idx - q.next)})
}
