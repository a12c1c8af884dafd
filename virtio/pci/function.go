package pci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tandem/virtio"
	"tandem/virtio/internal/control"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Options are what a machine may choose for a function.
type Options struct {
	// Line is the INTx pin, for drivers that do not use MSI-X; nil for a function
	// without one. GSI is what the interrupt line register tells.
	Line virtio.Line
	GSI  uint8
	// Direct has the device, a virtio.Notified, handle kicks in the vCPU's thread,
	// and calls made by ioctl in place of an eventfd: the data path "exit".
	Direct bool
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of errors that have nowhere else to go: why a device needs a
	// reset, a call that the host refused. May be nil. It may be called from any
	// goroutine, and must not call the function back.
	Report func(error)
}

// BAR is a memory base address register: how much address space it decodes.
type BAR struct {
	Index int    // 0-5; the register is at 0x10+4*Index
	Size  uint64 // a power of two
}

// Function is a PCI function: a virtio device in configuration space. ConfigRead
// and ConfigWrite are what a host bridge calls, from any vCPU's thread.
//
// Of its locks, mu is taken before the others, and none of them while the host or
// the device is inside another one: the host's Map may be called with mu held, the
// device's Reset with registers held.
type Function struct {
	host   virtio.Host
	opt    Options
	layout layout
	window window

	mu     sync.Mutex // guards space and mapped
	space  *space
	mapped uint64 // the BAR's address while it is decoded, else 0
	bound  []bool // by queue: writes to its doorbell signal its kick by themselves

	msix *msix
	intx *intx

	regMu     sync.Mutex // guards regs and the selectors
	regs      *control.Registers
	selectors selectors

	configVector atomic.Uint32
	queueVectors []atomic.Uint32
}

// New makes a function for the device. It is reachable in configuration space only
// until the guest, or the machine as a firmware does, writes its BAR and sets
// memory decoding in its command register.
func New(dev virtio.Device, mem *memory.Space, host virtio.Host, opt Options) (*Function, error) {
	n := len(dev.QueueSizes())
	if n > maxQueues {
		return nil, fmt.Errorf("pci: new %v: %d queues: more than %d", dev.Type(), n, maxQueues)
	}
	f := &Function{
		host:         host,
		opt:          opt,
		bound:        make([]bool, n),
		queueVectors: make([]atomic.Uint32, n),
	}
	f.window.f = f
	f.intx = &intx{report: f.report, line: opt.Line}
	var err error
	if f.msix, err = newMSIX(host, n+1, opt.Direct, f.report); err != nil {
		return nil, fmt.Errorf("pci: new %v: %w", dev.Type(), err)
	}
	f.regs, err = control.New(dev, mem, transport{f}, control.Options{
		Direct:   opt.Direct,
		Observer: opt.Observer,
		Report:   opt.Report,
	})
	if err != nil {
		return nil, errors.Join(err, f.msix.close())
	}
	f.layout = newLayout(len(f.msix.vectors))
	f.space = newSpace(dev.Type(), f.layout, opt.Line != nil, opt.GSI)
	f.resetVectors()
	return f, nil
}

func (f *Function) report(err error) {
	if f.opt.Report != nil {
		f.opt.Report(fmt.Errorf("pci: %w", err))
	}
}

// BARs lists the function's memory windows, all 32-bit and not prefetchable.
func (f *Function) BARs() []BAR { return []BAR{{Index: bar, Size: f.layout.size}} }

// Reset is a machine's reset: the device stops, and every register is as after New.
func (f *Function) Reset() {
	f.regMu.Lock()
	f.regs.SetStatus(0)
	f.regMu.Unlock()
	f.msix.reset()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.space.reset()
	f.follow()
}

// Close resets the function and gives back all it holds: windows, doorbells,
// interrupts.
func (f *Function) Close() error {
	f.Reset()
	f.regMu.Lock()
	defer f.regMu.Unlock()
	f.regs.Close()
	if err := f.msix.close(); err != nil {
		return fmt.Errorf("pci: close: %w", err)
	}
	return nil
}

// transport is what control.Registers needs of the function.
type transport struct{ f *Function }

func (t transport) QueueInterrupt(i int) queue.Interrupt { return interrupt{t.f, i} }

func (t transport) ConfigInterrupt() { t.f.raise(&t.f.configVector, isrConfig) }

func (t transport) ResetTransport() {
	t.f.selectors = selectors{}
	t.f.resetVectors()
	t.f.msix.drop()
	t.f.intx.take()
}

func (f *Function) resetVectors() {
	f.configVector.Store(noVector)
	for i := range f.queueVectors {
		f.queueVectors[i].Store(noVector)
	}
}
