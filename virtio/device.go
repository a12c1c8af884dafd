package virtio

import (
	"tandem/internal/eventfd"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Device is what one kind of virtio device implements. A transport (package pci or
// mmio) drives it.
//
// The transport calls Activate and Reset one at a time, never both at once.
// ReadConfig and WriteConfig may come at any time, also from several threads.
type Device interface {
	// Type is the device's number in virtio 1.2, section 5.
	Type() Type
	// Features is what the device offers: its own bits and those of the ring that
	// it can serve. The transport adds those that are its own affair.
	Features() uint64
	// QueueSizes gives the largest size of each queue, each a power of two up to
	// queue.MaxSize. It does not change.
	QueueSizes() []uint16

	// ReadConfig fills p with the device's configuration space from off on; bytes
	// past its end are 0.
	ReadConfig(off uint32, p []byte)
	// WriteConfig changes it; bytes that are read-only or past its end are left
	// alone.
	WriteConfig(off uint32, p []byte)

	// Activate starts the device: the driver has set DRIVER_OK. An error means that
	// it cannot run: the transport sets DEVICE_NEEDS_RESET.
	Activate(a *Activation) error
	// Reset stops the device. When it returns, no request is in flight: the device
	// touches neither guest memory nor the queues that it was given. It is called
	// on active devices only.
	Reset()
}

// Activation is what a device gets for the time from DRIVER_OK to Reset.
type Activation struct {
	Memory *memory.Space
	// Features holds what driver and device agreed upon.
	Features uint64
	// Queues has an entry for each of QueueSizes; those that the driver did not
	// enable have a nil Queue.
	Queues []Queue
	// UpdateConfig runs change, which alters what ReadConfig gives, and tells the
	// driver. ReadConfig is not called meanwhile, so that the configuration's
	// generation changes together with it: a driver that reads in several accesses
	// can tell (virtio 1.2, section 2.5.1). Must not be called from ReadConfig or
	// with a lock that ReadConfig takes.
	UpdateConfig func(change func())
	// Fail says that the device cannot go on, such as for a broken ring: the
	// transport sets DEVICE_NEEDS_RESET and tells the driver. The device must not
	// use any queue until the next Activate. May be called from any goroutine, more
	// than once.
	Fail func(err error)
}

// Has tells whether a feature bit was agreed upon.
func (a *Activation) Has(bit uint) bool { return a.Features&(1<<bit) != 0 }

// Queue is a virtqueue that the driver enabled, and its doorbell.
type Queue struct {
	*queue.Queue
	// Kick is signalled by the driver's notifications. One goroutine of the device
	// waits on it.
	Kick *eventfd.FD
}

// A QueueResetter can stop and start its queues one at a time while the device is
// active (VIRTIO_F_RING_RESET). The transport calls it as it calls Activate and
// Reset: one at a time.
type QueueResetter interface {
	Device
	// StopQueue returns when no chain of the queue is in flight.
	StopQueue(queue int)
	// StartQueue gives the device a queue again.
	StartQueue(queue int, q Queue) error
}

// A RingServer serves queues in a device's place: the kernel's vhost, or another
// process over vhost-user. A device that has one passes on what its transport tells
// it (a device all of whose queues are served elsewhere is a RingServer itself), and
// may keep queues to serve by itself, such as one for control.
//
// It gets from each Queue all that it needs: where the rings are (Config), Kick to
// wait on, and Config().Interrupt to call with. While it serves, nobody else may use
// the Queue.
type RingServer interface {
	// Features is what the server can do, of the device's own bits and the ring's.
	Features() uint64
	// Activate begins to serve those of the queues that are not nil. Of the
	// features, it looks at those that it offered.
	Activate(a *Activation) error
	// Reset ends that. When it returns, nothing is in flight.
	Reset()
	// StopQueue and StartQueue do the same for one queue, as in QueueResetter.
	StopQueue(queue int)
	StartQueue(queue int, q Queue) error
}

// A Notified device handles kicks in the thread of the vCPU that made them when the
// transport was asked to (data path "exit"): the transport calls Notify in place of
// signalling Queue.Kick. Notify may be called from several vCPU threads at once,
// and while Reset is being called.
type Notified interface {
	Device
	Notify(queue int)
}

// Interrupt is what a device calls the driver with: see package queue.
type Interrupt = queue.Interrupt
