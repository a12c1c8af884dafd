package pci

import (
	"sync/atomic"

	"tandem/internal/eventfd"
)

// interrupt calls the driver for one queue.
type interrupt struct {
	f     *Function
	queue int
}

func (i interrupt) Signal() { i.f.raise(&i.f.queueVectors[i.queue], isrQueue) }

// Event is the eventfd of the vector that the driver chose for the queue. With INTx
// there is none: the ISR status has to be set before the pin.
func (i interrupt) Event() *eventfd.FD {
	v := i.f.queueVectors[i.queue].Load()
	if !i.f.msix.enabled.Load() || v >= uint32(len(i.f.msix.vectors)) {
		return nil
	}
	return i.f.msix.vectors[v].msi.Event()
}

// raise calls the driver in the way that it chose. virtio 1.2, sections 4.1.5.3 and
// 4.1.5.4: the ISR status is for INTx alone.
func (f *Function) raise(vector *atomic.Uint32, bit uint8) {
	if f.msix.enabled.Load() {
		f.msix.signal(vector.Load())
		return
	}
	f.intx.raise(bit)
}
