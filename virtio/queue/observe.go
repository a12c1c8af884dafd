package queue

// Stage is a step in the life of a chain that an Observer is told of.
type Stage uint8

// The stages, in order.
const (
	KickSeen      Stage = iota // the device woke and looks at the available index
	ChainPopped                // a chain was taken and all its addresses were checked
	FrameReceived              // a network card read a frame from its backend
	FrameSent                  // a network card wrote one to it
	UsedPublished              // the driver can see the chain in the used ring
	CallSent                   // an interrupt was raised
	WorkerWoken                // who serves the queue was woken, for a kick or for a frame, where no more can be seen
)

func (s Stage) String() string {
	switch s {
	case KickSeen:
		return "kick seen"
	case ChainPopped:
		return "chain popped"
	case FrameReceived:
		return "frame received"
	case FrameSent:
		return "frame sent"
	case UsedPublished:
		return "used published"
	case CallSent:
		return "call sent"
	case WorkerWoken:
		return "worker woken"
	}
	return "unknown"
}

// Event is one step of one queue.
type Event struct {
	Stage Stage
	Queue uint16
	// Head is the chain's first descriptor. Not set for KickSeen, CallSent and WorkerWoken,
	// which are for no chain in particular.
	Head uint16
	// Index is the chain's place: its available index for ChainPopped, its used
	// index for UsedPublished. For KickSeen it is the driver's available index, for
	// CallSent the used index that the call announces.
	Index uint16
	// Length is the chain's bytes for ChainPopped, the frame's with its header for
	// FrameReceived and FrameSent, the bytes written for UsedPublished, and the number of chains waiting for KickSeen.
	Length uint64
}

// Observer is told of each step, in the thread that makes it, before the step after
// it: it stamps the time itself, and must be quick and not block.
type Observer interface {
	Observe(Event)
}

// Stamp tells the observer of a step that the device makes, and not the queue.
func (q *Queue) Stamp(stage Stage, head, index uint16, length uint64) {
	if o := q.cfg.Observer; o != nil {
		o.Observe(Event{Stage: stage, Queue: uint16(q.cfg.Index), Head: head, Index: index, Length: length})
	}
}
