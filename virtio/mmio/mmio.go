package mmio

import (
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Size is the size of a device's window.
const Size = 0x1000

// Options are what a machine may choose for a device.
type Options struct {
	// Direct has the device handle kicks in the vCPU's thread: the data path
	// "exit".
	Direct bool
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of errors that have nowhere else to go. May be nil.
	Report func(error)
}

// Transport is a virtio device in a window of MMIO registers, version 2.
type Transport struct {
	_ int
}

// New maps the device's window at addr, Size bytes long. line is the device's
// interrupt.
func New(dev virtio.Device, mem *memory.Space, host virtio.Host, addr uint64, line virtio.Line, opt Options) (*Transport, error) {
	return &Transport{}, nil
}

// Reset is a machine's reset: the device stops, and every register is as after
// New.
func (t *Transport) Reset() {}

// Close resets the device, unmaps its window and gives back all it holds.
func (t *Transport) Close() error { return nil }
