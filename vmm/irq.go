package vmm

import (
	"sync"

	"tandem/kvm"
	"tandem/vmm/layout"
)

// interrupts is the machine's interrupt wiring: lines to the IOAPIC's pins, and
// messages. The controllers themselves are KVM's.
//
//	serial ── line ──────────────────► GSI 4  ─► IOAPIC pin 4 ─┐
//	virtio A INTA ── line ─┬─ (or) ──► GSI 17 ─► IOAPIC pin 17 ┼─► local APICs
//	virtio B INTA ── line ─┘                                   │
//	virtio A queue 0 ── eventfd ─────► GSI 24 ─► message ──────┘
type interrupts struct {
	vm *kvm.VM

	pins [layout.IOAPICPins]pin

	mu     sync.Mutex // guards what follows, and orders changes of the routing table
	routes map[uint32]kvm.MSI
	used   map[uint32]bool // GSIs that belong to an MSI
	limit  uint32          // GSIs that KVM can route
}

// pin is an IOAPIC pin: the wired OR of its lines.
type pin struct {
	mu   sync.Mutex
	high int // lines that are high
}

func newInterrupts(vm *kvm.VM, limit int) *interrupts {
	return &interrupts{
		vm:     vm,
		routes: map[uint32]kvm.MSI{},
		used:   map[uint32]bool{},
		limit:  uint32(limit),
	}
}

// line makes a new source of a pin's interrupt.
func (x *interrupts) line(gsi uint32) *line { return &line{x: x, gsi: gsi} }

// line is a virtio.Line, a serial.Line and an rtc.Line.
type line struct {
	x    *interrupts
	gsi  uint32
	high bool // guarded by the pin's mu
}

// Set drives the line. The pin follows when the first line goes high and when the
// last one goes low.
func (l *line) Set(high bool) error {
	p := &l.x.pins[l.gsi]
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.high == high {
		return nil
	}
	l.high = high
	before := p.high
	if high {
		p.high++
	} else {
		p.high--
	}
	if before != 0 && p.high != 0 {
		return nil
	}
	return l.x.vm.SetIRQLine(l.gsi, high)
}

// table is the routing table: the pins as KVM has them, and the messages. The
// caller holds x.mu.
func (x *interrupts) table() []kvm.Route {
	routes := kvm.DefaultRoutes()
	for gsi := uint32(layout.MSIGSI); gsi < x.limit; gsi++ {
		if m, ok := x.routes[gsi]; ok {
			routes = append(routes, kvm.RouteMSI(gsi, m))
		}
	}
	return routes
}
