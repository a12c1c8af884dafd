package queue

// Marker is told of all guest memory that the device has written: it keeps a log of dirty pages, for one who copies the
// memory while the guest runs. Each call comes after the writing, and that of a chain's pieces before the driver sees it.
type Marker interface {
	// Wrote: the device may have written these bytes of a chain.
	Wrote(gpa, n uint64)
	// WroteUsed: it has written these bytes of the used ring, counted from the ring's start.
	WroteUsed(off, n uint64)
}

// maxSpansKept is how many pieces a head's storage has that is kept for the next chain.
const maxSpansKept = 64

// span is a range of guest memory.
type span struct{ gpa, n uint64 }

// marks are what a queue with a Marker knows of its chains.
type marks struct {
	Marker
	spans [][]span // by head: the writable pieces of a chain that was popped
}

func newMarks(cfg *Config) *marks {
	if cfg.Marker == nil {
		return nil
	}
	return &marks{Marker: cfg.Marker, spans: make([][]span, cfg.Size)}
}

// begin forgets the chain that had this head before.
func (m *marks) begin(head uint16) { m.spans[head] = m.spans[head][:0] }

// add takes down a piece that the device may write.
func (m *marks) add(head uint16, gpa, n uint64) { m.spans[head] = append(m.spans[head], span{gpa, n}) }

// pushed marks a chain: all of it, as a device may write more than it says (virtio 1.2, section 2.7.8.2).
func (m *marks) pushed(head uint16, slot int) {
	for _, s := range m.spans[head] {
		m.Wrote(s.gpa, s.n)
	}
	// One long indirect table a head would be much memory to keep for a guest that wants that.
	if cap(m.spans[head]) > maxSpansKept {
		m.spans[head] = nil
	}
	m.WroteUsed(uint64(ringSlots+slot*usedSlot), usedSlot)
}

// Places of the used ring's fields that have no slot.
func (q *Queue) markFlags()      { q.marks.WroteUsed(ringFlags, 2) }
func (q *Queue) markIdx()        { q.marks.WroteUsed(ringIdx, 2) }
func (q *Queue) markAvailEvent() { q.marks.WroteUsed(uint64(ringSlots+int(q.size)*usedSlot), 2) }
