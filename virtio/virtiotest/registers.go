package virtiotest

import (
	"time"

	"tandem/virtio"
)

// Registers is a transport as a guest's driver sees it.
type Registers interface {
	Type() virtio.Type

	Status() uint8
	SetStatus(v uint8)
	DeviceFeatures() uint64
	DriverFeatures() uint64
	SetDriverFeatures(f uint64)

	// MaxSize is 0 for a queue that is not there.
	MaxSize(queue int) uint16
	SetQueue(queue int, size uint16, desc, avail, used uint64)
	Enable(queue int)
	Enabled(queue int) bool
	ResetQueue(queue int)
	// Disable stops a queue without a reset, where the transport can.
	Disable(queue int) bool
	Notify(queue int)

	Generation() uint32
	ReadConfig(off uint32, p []byte)
	WriteConfig(off uint32, p []byte)

	// SetInterrupts chooses vectors, where there are any. A driver does it after
	// each reset.
	SetInterrupts(queues int)
	// WaitQueue waits for a call from a queue, WaitConfig for one that says that
	// the configuration changed. They give false after the timeout.
	WaitQueue(queue int, timeout time.Duration) bool
	WaitConfig(timeout time.Duration) bool

	// Space is where the registers lie, for those who write to all of them.
	Space() virtio.Window
}

// isrWaiter waits for interrupts that come over a line with a status register
// behind it. What was seen of one kind is kept for who waits for it.
type isrWaiter struct {
	line *Line
	take func() uint32 // reads and acknowledges the status
	seen uint32
}

func (w *isrWaiter) wait(bit uint32, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for w.seen&bit == 0 {
		if !w.line.Wait(time.Until(deadline)) {
			return false
		}
		w.seen |= w.take()
	}
	w.seen &^= bit
	return true
}
