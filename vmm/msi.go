package vmm

import (
	"errors"
	"fmt"
	"sync"

	"tandem/internal/eventfd"
	"tandem/kvm"
	"tandem/virtio"
	"tandem/vmm/layout"
)

// ErrNoGSI says that every interrupt number that KVM can route is taken.
var ErrNoGSI = errors.New("no interrupt number is free")

// message is a virtio.MSI: an eventfd that KVM reads while the message is
// unmasked (KVM_IRQFD), and a GSI whose route is the message.
type message struct {
	x     *interrupts
	gsi   uint32
	event *eventfd.FD

	mu     sync.Mutex
	msi    kvm.MSI
	routed kvm.MSI // what the table holds for gsi, once inTable
	table  bool
	open   bool // unmasked: KVM reads the eventfd
	closed bool
}

var _ virtio.MSI = (*message)(nil)

// message makes a masked one.
func (x *interrupts) message() (*message, error) {
	gsi, err := x.take()
	if err != nil {
		return nil, err
	}
	event, err := eventfd.New()
	if err != nil {
		x.release(gsi)
		return nil, err
	}
	return &message{x: x, gsi: gsi, event: event}, nil
}

func (x *interrupts) take() (uint32, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for gsi := uint32(layout.MSIGSI); gsi < x.limit; gsi++ {
		if !x.used[gsi] {
			x.used[gsi] = true
			return gsi, nil
		}
	}
	return 0, fmt.Errorf("vmm: make msi: %w (of %d)", ErrNoGSI, x.limit)
}

// release gives a GSI back. Its route stays in KVM's table until the table is
// next written; nothing can raise it.
func (x *interrupts) release(gsi uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.used, gsi)
	delete(x.routes, gsi)
}

// route has KVM send m for a GSI.
func (x *interrupts) route(gsi uint32, m kvm.MSI) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	old, had := x.routes[gsi]
	x.routes[gsi] = m
	err := x.vm.SetGSIRouting(x.table())
	if err != nil {
		delete(x.routes, gsi)
		if had {
			x.routes[gsi] = old
		}
	}
	return err
}

// Event is what raises the interrupt.
func (m *message) Event() *eventfd.FD { return m.event }

// Set gives the message. While it is masked the table is left alone: a guest
// writes address and data one after the other, and each change of KVM's table
// waits for all vCPUs to have seen it.
func (m *message) Set(addr uint64, data uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.msi = kvm.MSI{Address: addr, Data: data}
	if !m.open {
		return nil
	}
	return m.write()
}

func (m *message) write() error {
	if m.table && m.routed == m.msi {
		return nil
	}
	if err := m.x.route(m.gsi, m.msi); err != nil {
		return err
	}
	m.routed, m.table = m.msi, true
	return nil
}

// Unmask has KVM read the eventfd. If it was signalled before, KVM delivers at
// once.
func (m *message) Unmask() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open || m.closed {
		return nil
	}
	if err := m.write(); err != nil {
		return err
	}
	if err := m.x.vm.SetIRQFD(m.event.Fd(), m.gsi); err != nil {
		return err
	}
	m.open = true
	return nil
}

// Mask leaves signals in the eventfd.
func (m *message) Mask() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mask()
}

func (m *message) mask() error {
	if !m.open {
		return nil
	}
	if err := m.x.vm.UnsetIRQFD(m.event.Fd(), m.gsi); err != nil {
		return err
	}
	m.open = false
	return nil
}

// Send delivers the message in the caller's thread.
func (m *message) Send() error {
	m.mu.Lock()
	msi := m.msi
	m.mu.Unlock()
	_, err := m.x.vm.SignalMSI(msi)
	return err
}

// Close gives the GSI and the eventfd back.
func (m *message) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	err := m.mask()
	m.x.release(m.gsi)
	return errors.Join(err, m.event.Close())
}
