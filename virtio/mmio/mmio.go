package mmio

import (
	"fmt"
	"sync"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/internal/control"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Size is the size of a device's window.
const Size = 0x1000

// Options are what a machine may choose for a device.
type Options struct {
	// Direct has the device, a virtio.Notified, handle kicks in the vCPU's thread:
	// the data path "exit".
	Direct bool
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of errors that have nowhere else to go: why a device needs a
	// reset, a call that the host refused. May be nil. It may be called from any
	// goroutine, and must not call the transport back.
	Report func(error)
}

// Transport is a virtio device in a window of MMIO registers, version 2.
type Transport struct {
	dev   virtio.Device
	host  virtio.Host
	opt   Options
	addr  uint64
	bound []bool // by queue: writes to its doorbell signal its kick by themselves

	irq irq

	mu        sync.Mutex // guards regs and the selectors
	regs      *control.Registers
	selectors selectors
}

// New maps the device's window at addr, Size bytes long. line is the device's
// interrupt.
func New(dev virtio.Device, mem *memory.Space, host virtio.Host, addr uint64, line virtio.Line, opt Options) (*Transport, error) {
	t := &Transport{dev: dev, host: host, opt: opt, addr: addr}
	t.irq = irq{line: line, report: t.report}
	var err error
	t.regs, err = control.New(dev, mem, transport{t}, control.Options{
		Direct:   opt.Direct,
		Observer: opt.Observer,
		Report:   opt.Report,
	})
	if err != nil {
		return nil, err
	}
	if err := host.Map(t.window(), t); err != nil {
		t.regs.Close()
		return nil, fmt.Errorf("mmio: new %v at %#x: %w", dev.Type(), addr, err)
	}
	t.bound = make([]bool, t.regs.NumQueues())
	if !opt.Direct {
		for i := range t.bound {
			// Where the host cannot, kicks come to the window, which does the same,
			// only slower.
			t.bound[i] = host.Bind(t.doorbell(i), t.regs.Kick(i)) == nil
		}
	}
	return t, nil
}

func (t *Transport) report(err error) {
	if t.opt.Report != nil {
		t.opt.Report(fmt.Errorf("mmio: %v at %#x: %w", t.dev.Type(), t.addr, err))
	}
}

func (t *Transport) window() virtio.Window {
	return virtio.Window{Bus: virtio.MMIO, Addr: t.addr, Size: Size}
}

// doorbell is a write of a queue's number to the one notification register.
func (t *Transport) doorbell(queue int) virtio.Doorbell {
	return virtio.Doorbell{
		Bus: virtio.MMIO, Addr: t.addr + regQueueNotify, Size: 4,
		Match: true, Data: uint64(queue),
	}
}

// Reset is a machine's reset: the device stops, and every register is as after New.
func (t *Transport) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.regs.SetStatus(0)
}

// Close resets the device, unmaps its window and gives back all it holds.
func (t *Transport) Close() error {
	t.Reset()
	var err error
	for i, bound := range t.bound {
		if !bound {
			continue
		}
		if e := t.host.Unbind(t.doorbell(i), t.regs.Kick(i)); e != nil && err == nil {
			err = fmt.Errorf("doorbell of queue %d: %w", i, e)
		}
	}
	if e := t.host.Unmap(t.window()); e != nil && err == nil {
		err = e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.regs.Close()
	if err != nil {
		return fmt.Errorf("mmio: close %v at %#x: %w", t.dev.Type(), t.addr, err)
	}
	return nil
}

// transport is what control.Registers needs of the transport.
type transport struct{ t *Transport }

func (t transport) QueueInterrupt(int) queue.Interrupt { return queueInterrupt{&t.t.irq} }
func (t transport) ConfigInterrupt()                   { t.t.irq.raise(irqConfig) }

func (t transport) ResetTransport() {
	t.t.selectors = selectors{}
	t.t.irq.acknowledge(irqQueue | irqConfig)
}

// Bits of InterruptStatus. virtio 1.2, section 4.2.2.
const (
	irqQueue  = 1
	irqConfig = 2
)

// irq is the interrupt status register, and the line that is high while the
// register is not 0.
type irq struct {
	report func(error)
	line   virtio.Line

	mu     sync.Mutex
	status uint32
	high   bool
}

func (q *irq) raise(bit uint32) { q.change(0, bit) }

func (q *irq) acknowledge(bits uint32) { q.change(bits, 0) }

func (q *irq) pending() uint32 { return q.change(0, 0) }

func (q *irq) change(drop, add uint32) uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status = q.status&^drop | add
	if high := q.status != 0; high != q.high {
		if err := q.line.Set(high); err != nil {
			q.report(fmt.Errorf("interrupt line: %w", err))
		} else {
			q.high = high
		}
	}
	return q.status
}

// queueInterrupt calls the driver. All queues share the line, and the status has to
// be set before it: there is no eventfd to hand out.
type queueInterrupt struct{ irq *irq }

func (i queueInterrupt) Signal()            { i.irq.raise(irqQueue) }
func (i queueInterrupt) Event() *eventfd.FD { return nil }
