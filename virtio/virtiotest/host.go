package virtiotest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tandem/internal/eventfd"
	"tandem/virtio"
)

// Host is a virtio.Host without a machine around it. Its Read and Write are what a
// processor does.
type Host struct {
	// NoDoorbells and NoMSI take away what a machine may not have. Set them before
	// a transport is plugged in.
	NoDoorbells, NoMSI bool
	// Trace, if not nil, is told of each Read (before it is answered) and Write.
	Trace func(write bool, addr uint64, p []byte)

	mu        sync.Mutex
	windows   []mapping
	doorbells map[virtio.Doorbell]*eventfd.FD
	msis      []*MSI

	exits int // accesses that reached a handler
}

type mapping struct {
	virtio.Window
	handler virtio.Handler
}

var _ virtio.Host = (*Host)(nil)

// Map implements virtio.Host.
func (h *Host) Map(w virtio.Window, handler virtio.Handler) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.Size == 0 || w.Addr+w.Size < w.Addr {
		return fmt.Errorf("map %v: wraps around", w)
	}
	for _, m := range h.windows {
		if m.Bus == w.Bus && w.Addr < m.Addr+m.Size && m.Addr < w.Addr+w.Size {
			return fmt.Errorf("map %v: overlaps %v", w, m.Window)
		}
	}
	h.windows = append(h.windows, mapping{w, handler})
	return nil
}

// Unmap implements virtio.Host.
func (h *Host) Unmap(w virtio.Window) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.windows, func(m mapping) bool { return m.Window == w })
	if i < 0 {
		return fmt.Errorf("unmap %v: not mapped", w)
	}
	h.windows = slices.Delete(h.windows, i, i+1)
	return nil
}

// Bind implements virtio.Host.
func (h *Host) Bind(d virtio.Doorbell, e *eventfd.FD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.NoDoorbells {
		return fmt.Errorf("bind %v: %w", d, errors.ErrUnsupported)
	}
	if h.doorbells[d] != nil {
		return fmt.Errorf("bind %v: bound", d)
	}
	if h.doorbells == nil {
		h.doorbells = make(map[virtio.Doorbell]*eventfd.FD)
	}
	h.doorbells[d] = e
	return nil
}

// Unbind implements virtio.Host.
func (h *Host) Unbind(d virtio.Doorbell, e *eventfd.FD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doorbells[d] != e || e == nil {
		return fmt.Errorf("unbind %v: not bound to this eventfd", d)
	}
	delete(h.doorbells, d)
	return nil
}

// MSI implements virtio.Host.
func (h *Host) MSI() (virtio.MSI, error) {
	if h.NoMSI {
		return nil, fmt.Errorf("allocate MSI: %w", errors.ErrUnsupported)
	}
	event, err := eventfd.New()
	if err != nil {
		return nil, err
	}
	sent, err := eventfd.New()
	if err != nil {
		event.Close()
		return nil, err
	}
	m := &MSI{host: h, event: event, sent: sent}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.msis = append(h.msis, m)
	return m, nil
}

// Read is a processor's load from a bus. Where nothing is mapped, it gives all
// ones.
func (h *Host) Read(bus virtio.Bus, addr uint64, p []byte) {
	if h.Trace != nil {
		h.Trace(false, addr, p)
	}
	m, ok := h.find(bus, addr, len(p))
	if !ok {
		for i := range p {
			p[i] = 0xff
		}
		return
	}
	m.handler.Read(addr-m.Addr, p)
}

// Write is a processor's store to a bus. A doorbell takes it if one matches.
func (h *Host) Write(bus virtio.Bus, addr uint64, p []byte) {
	if h.Trace != nil {
		h.Trace(true, addr, p)
	}
	if e := h.rung(bus, addr, p); e != nil {
		_ = e.Signal() // closed: nobody is there to wake
		return
	}
	if m, ok := h.find(bus, addr, len(p)); ok {
		m.handler.Write(addr-m.Addr, p)
	}
}

func (h *Host) find(bus virtio.Bus, addr uint64, n int) (mapping, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.windows {
		if m.Bus == bus && addr >= m.Addr && addr-m.Addr+uint64(n) <= m.Size {
			h.exits++
			return m, true
		}
	}
	return mapping{}, false
}

// rung is the eventfd of the doorbell that a write matches, as in KVM: an exact
// match first, then one of any width and data.
func (h *Host) rung(bus virtio.Bus, addr uint64, p []byte) *eventfd.FD {
	d := virtio.Doorbell{Bus: bus, Addr: addr, Size: uint8(len(p)), Match: true}
	var data [8]byte
	if copy(data[:], p) < len(p) {
		return nil
	}
	d.Data = binary.LittleEndian.Uint64(data[:])
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.doorbells[d]; e != nil {
		return e
	}
	d.Match, d.Data = false, 0
	if e := h.doorbells[d]; e != nil {
		return e
	}
	d.Size = 0
	return h.doorbells[d]
}

// Exits is how many accesses reached a handler so far.
func (h *Host) Exits() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exits
}

// Windows lists what is mapped, by address.
func (h *Host) Windows() []virtio.Window {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []virtio.Window
	for _, m := range h.windows {
		list = append(list, m.Window)
	}
	slices.SortFunc(list, func(a, b virtio.Window) int { return cmp.Compare(a.Addr, b.Addr) })
	return list
}

// Doorbells is how many doorbells are bound.
func (h *Host) Doorbells() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.doorbells)
}

// CheckEmpty fails the test if a transport left something behind.
func (h *Host) CheckEmpty(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.windows) > 0 {
		t.Errorf("%d windows are still mapped", len(h.windows))
	}
	if len(h.doorbells) > 0 {
		t.Errorf("%d doorbells are still bound", len(h.doorbells))
	}
	if len(h.msis) > 0 {
		t.Errorf("%d MSIs are still open", len(h.msis))
	}
}
