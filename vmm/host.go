package vmm

import (
	"errors"
	"fmt"
	"sync"

	"tandem/internal/eventfd"
	"tandem/kvm"
	"tandem/virtio"
	"tandem/vmm/bus"
	"tandem/vmm/layout"
)

// ErrWindow says that a device may not have the addresses that it (or a guest
// that moves a BAR) asks for.
var ErrWindow = errors.New("not in an area for devices")

// host is the machine as one virtio transport sees it: a virtio.Host. Each device
// has its own, so that what goes over the buses bears its name.
type host struct {
	vm   *VM
	name string

	mu      sync.Mutex
	windows map[virtio.Window]*bus.Window
}

var _ virtio.Host = (*host)(nil)

func newHost(vm *VM, name string) *host {
	return &host{vm: vm, name: name, windows: map[virtio.Window]*bus.Window{}}
}

// deviceAreas are where a virtio device's window may lie: a guest that writes
// an address into a BAR must not take over another device's, and not the place
// of RAM or of the APICs.
var deviceAreas = [...]layout.Range{
	{GPA: layout.PCIWindow, Size: layout.PCIWindowSize},
	{GPA: layout.VirtioMMIO, Size: layout.VirtioMMIOSize * uint64(layout.VirtioMMIOSlots)},
}

// Map routes accesses in the window to h.
func (h *host) Map(w virtio.Window, handler virtio.Handler) error {
	if w.Bus != virtio.MMIO || !inAreas(w.Addr, w.Size) {
		return fmt.Errorf("vmm: map %s %v %#x, %#x long: %w", h.name, w.Bus, w.Addr, w.Size, ErrWindow)
	}
	mapped, err := h.vm.mmio.Map(h.name, w.Addr, w.Size, handler)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.windows[w] = mapped
	return nil
}

func inAreas(addr, size uint64) bool {
	for _, a := range deviceAreas {
		if addr >= a.GPA && addr < a.End() && size <= a.End()-addr {
			return true
		}
	}
	return false
}

// Unmap takes a window away.
func (h *host) Unmap(w virtio.Window) error {
	h.mu.Lock()
	mapped := h.windows[w]
	delete(h.windows, w)
	h.mu.Unlock()
	if mapped == nil {
		return fmt.Errorf("vmm: unmap %s %v %#x: %w", h.name, w.Bus, w.Addr, bus.ErrNotMapped)
	}
	return h.vm.mmio.Unmap(mapped)
}

// Bind has KVM signal e for the doorbell's writes.
func (h *host) Bind(d virtio.Doorbell, e *eventfd.FD) error {
	return h.vm.kvm.SetIOEventFD(ioEvent(d, e))
}

// Unbind undoes Bind.
func (h *host) Unbind(d virtio.Doorbell, e *eventfd.FD) error {
	return h.vm.kvm.UnsetIOEventFD(ioEvent(d, e))
}

func ioEvent(d virtio.Doorbell, e *eventfd.FD) kvm.IOEvent {
	return kvm.IOEvent{
		Addr: d.Addr, PIO: d.Bus == virtio.PIO, Len: uint32(d.Size),
		DataMatch: d.Match, Data: d.Data, EventFD: e.Fd(),
	}
}

// MSI makes a message-signalled interrupt.
func (h *host) MSI() (virtio.MSI, error) {
	m, err := h.vm.irq.message()
	if err != nil {
		return nil, err
	}
	return m, nil
}
