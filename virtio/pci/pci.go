package pci

import (
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Options are what a machine may choose for a function.
type Options struct {
	// Line is the INTx pin, for drivers that do not use MSI-X; nil for a
	// function without one. GSI is what the interrupt line register tells.
	Line virtio.Line
	GSI  uint8
	// Direct has the device handle kicks in the vCPU's thread, and calls made
	// by ioctl in place of an eventfd: the data path "exit".
	Direct bool
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of errors that have nowhere else to go: why a device
	// needs a reset, a call that the host refused. May be nil.
	Report func(error)
}

// BAR is a memory base address register: how much address space it decodes.
type BAR struct {
	Index int    // 0-5; the register is at 0x10+4*Index
	Size  uint64 // a power of two
}

// Function is a PCI function: a virtio device in configuration space.
// ConfigRead and ConfigWrite are what a host bridge calls.
type Function struct {
	_ int
}

// New makes a function for the device. It is reachable in configuration space
// only until the guest or the machine, as a firmware does, writes its BARs and sets
// memory decoding in its command register.
func New(dev virtio.Device, mem *memory.Space, host virtio.Host, opt Options) (*Function, error) {
	return &Function{}, nil
}

// BARs lists the function's memory windows, all 32-bit and not prefetchable.
func (f *Function) BARs() []BAR { return nil }

// ConfigRead fills p from the function's 4096 bytes of configuration space.
func (f *Function) ConfigRead(off uint16, p []byte) {}

// ConfigWrite writes to configuration space.
func (f *Function) ConfigWrite(off uint16, p []byte) {}

// Reset is a machine's reset: the device stops, and every register is as after
// New.
func (f *Function) Reset() {}

// Close resets the function and gives back all it holds: windows, doorbells,
// interrupts.
func (f *Function) Close() error { return nil }
