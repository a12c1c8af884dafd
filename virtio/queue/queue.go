package queue

import (
	"fmt"

	"tandem/internal/eventfd"
	"tandem/virtio/memory"
)

// MaxSize is the largest number of entries that a split virtqueue can have.
// virtio 1.2, section 2.7.
const MaxSize = 32768

// Config is where the driver put a queue and how the two sides agreed to use
// it.
type Config struct {
	Index int    // the queue's number in its device
	Size  uint16 // entries, a power of two up to MaxSize

	Desc  uint64 // guest physical address of the descriptor table
	Avail uint64 // of the available ring (the "driver area")
	Used  uint64 // of the used ring (the "device area")

	Indirect bool // VIRTIO_F_INDIRECT_DESC was agreed upon
	EventIdx bool // VIRTIO_F_EVENT_IDX was agreed upon

	Interrupt Interrupt // what calls the driver
	Observer  Observer  // what is told of each step; nil for nobody
}

// Interrupt calls the driver: used buffers are there.
type Interrupt interface {
	// Signal raises the interrupt.
	Signal()
	// Event is an eventfd that raises it without this process's help (an
	// irqfd), for those who serve the ring elsewhere. It is nil when only
	// Signal will do: an interrupt line whose status register has to be set
	// first.
	Event() *eventfd.FD
}

// Queue is the device's side of one split virtqueue. One goroutine at a time
// may use it.
type Queue struct {
	cfg Config
}

// New checks where a driver put its queue and makes the device's side of it.
func New(mem *memory.Space, cfg Config) (*Queue, error) {
	return &Queue{cfg: cfg}, nil
}

// Config is what the queue was made from.
func (q *Queue) Config() Config { return q.cfg }

// Chain is one buffer that the driver offered: a list of pieces that the device
// reads and a list that it writes, all checked and in guest memory. The zero
// Chain is ready for Pop, which reuses its storage.
type Chain struct {
	Head  uint16 // the first descriptor: what the driver knows the chain by
	Index uint16 // where it stood: the available index, modulo 65536

	Readable [][]byte
	Writable [][]byte

	ReadLen  uint64 // bytes in Readable
	WriteLen uint64 // bytes in Writable
}

// Pop takes the next available chain into c and tells whether there was one. An
// error is an *Error: the ring is broken, and the queue must not be used again.
func (q *Queue) Pop(c *Chain) (bool, error) { return false, nil }

// Push gives a chain back to the driver: the device wrote the first written
// bytes of its writable part. The driver sees it with the next Publish.
func (q *Queue) Push(head uint16, written uint32) {}

// Publish lets the driver see what was pushed, and calls it if it asked for
// that.
func (q *Queue) Publish() {}

// DisableKicks asks the driver for no more kicks. It is a hint: they may still
// come.
func (q *Queue) DisableKicks() {}

// EnableKicks asks for a kick with the next available chain, and tells whether
// there are chains already, which no kick will announce: the caller must look
// at them before it waits.
func (q *Queue) EnableKicks() (more bool) { return false }

// Error says how a driver broke a ring.
type Error struct {
	Queue  int    // the queue's number in its device
	Head   uint16 // the chain's first descriptor, if it got that far
	Index  uint16 // the available index
	Reason string
	Err    error // the cause, if there is one below
}

func (e *Error) Error() string {
	s := fmt.Sprintf("queue: %d head %d index %d: %s", e.Queue, e.Head, e.Index, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
