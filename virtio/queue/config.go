package queue

import (
	"fmt"

	"tandem/internal/eventfd"
	"tandem/virtio/memory"
)

// MaxSize is the largest number of entries that a split virtqueue can have. virtio
// 1.2, section 2.7.
const MaxSize = 32768

// The layout of a split virtqueue. virtio 1.2, sections 2.7.5, 2.7.6, 2.7.8.
const (
	descSize = 16 // struct virtq_desc

	ringFlags = 0 // in both rings: flags
	ringIdx   = 2 // idx
	ringSlots = 4 // the first slot; after the last one comes the event index

	availSlot = 2 // bytes a slot: the head of a chain
	usedSlot  = 8 // struct virtq_used_elem

	descAlign  = 16
	availAlign = 2
	usedAlign  = 4
)

// Config is where the driver put a queue and how the two sides agreed to use it.
type Config struct {
	Index int    // the queue's number in its device
	Size  uint16 // entries, a power of two up to MaxSize

	Desc  uint64 // guest physical address of the descriptor table
	Avail uint64 // of the available ring (the "driver area")
	Used  uint64 // of the used ring (the "device area")

	// Start is the index at which both rings begin: 0 for a queue that the driver
	// just made, else what Next returned when it was last served, or what UsedIndex
	// reads if whoever served it cannot be asked any more.
	Start uint16
	// Resume holds the heads of chains that were popped by one who served the queue
	// before and who did not live to push them, as their Tracker has them. Pop gives
	// them first, in this order, as the chains from Start on.
	Resume []uint16

	Indirect bool // VIRTIO_F_INDIRECT_DESC was agreed upon
	EventIdx bool // VIRTIO_F_EVENT_IDX was agreed upon

	Interrupt Interrupt // what calls the driver
	Observer  Observer  // what is told of each step; nil for nobody
	Tracker   Tracker   // what remembers the chains in flight; nil for nobody
	Marker    Marker    // what is told of the memory that is written; nil for nobody
}

// Tracker remembers, outside of this process, which chains were popped and not yet
// given back, for the one who serves the queue next (vhost-user's in-flight area).
// Each call comes before the step that it announces can be seen by others, but for
// Published, which comes right after.
type Tracker interface {
	// Popped: the chain is in flight from here on.
	Popped(head uint16)
	// Pushed: it will be seen in the used ring with the next Published.
	Pushed(head uint16)
	// Published: the driver sees the used index, and all chains pushed so far.
	Published(used uint16)
}

// Interrupt calls the driver: used buffers are there.
type Interrupt interface {
	// Signal raises the interrupt.
	Signal()
	// Event is an eventfd that raises it without this process's help (an irqfd),
	// for those who serve the ring elsewhere. It is nil when only Signal will do:
	// an interrupt line whose status register has to be set first.
	Event() *eventfd.FD
}

// areas are the three tables of a queue in this process's memory.
type areas struct {
	desc, avail, used []byte
}

// find checks where the driver put the three tables. Each has to lie in one region:
// real ones do, and the ring's code then needs no seams.
func (c *Config) find(mem *memory.Space) (areas, error) {
	n := uint64(c.Size)
	if n == 0 || n > MaxSize || n&(n-1) != 0 {
		return areas{}, c.refuse("size %d: not a power of two up to %d", n, MaxSize)
	}
	var a areas
	for _, t := range []struct {
		name  string
		gpa   uint64
		size  uint64
		align uint64
		area  *[]byte
	}{
		{"descriptor table", c.Desc, n * descSize, descAlign, &a.desc},
		{"available ring", c.Avail, ringSlots + n*availSlot + 2, availAlign, &a.avail},
		{"used ring", c.Used, ringSlots + n*usedSlot + 2, usedAlign, &a.used},
	} {
		area, err := mem.Slice(t.gpa, t.size)
		if err != nil {
			return areas{}, c.refuse("%s: %w", t.name, err)
		}
		if t.gpa%t.align != 0 || !aligned(area, t.align) {
			return areas{}, c.refuse("%s %#x: not aligned to %d", t.name, t.gpa, t.align)
		}
		*t.area = area
	}
	if len(c.Resume) > int(c.Size) {
		return areas{}, c.refuse("%d chains to resume: more than the queue's %d", len(c.Resume), c.Size)
	}
	return a, nil
}

func (c *Config) refuse(format string, args ...any) error {
	return fmt.Errorf("queue: set up %d: %w", c.Index, fmt.Errorf(format, args...))
}
