package bus

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// Errors that [Bus.Map] and [Bus.Unmap] return, wrapped.
var (
	// ErrOverlap says that a window would cover addresses of another.
	ErrOverlap = errors.New("overlaps another window")
	// ErrRange says that a window is empty or ends outside the address space.
	ErrRange = errors.New("outside the address space")
	// ErrNotMapped says that there is no such window.
	ErrNotMapped = errors.New("no such window")
)

// Handler answers the accesses to one window. off counts from the window's
// first address; off+len(p) never exceeds the window's size. Accesses are 1 to
// 8 bytes long, at any alignment: the guest chooses. Several vCPUs may call at
// the same time.
type Handler interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
}

// Access is one access to one window, as an [Observer] sees it.
type Access struct {
	Device string // the window's name; "" where nobody answers
	Addr   uint64
	Data   []byte // what was read or written; valid during the call only
	Write  bool
}

// Observer is told of every access after it was answered. It runs on the
// vCPU's thread.
type Observer func(Access)

// Window is a mapped stretch of addresses.
type Window struct {
	Name string
	Base uint64
	Size uint64

	handler Handler
}

func (w *Window) last() uint64 { return w.Base + w.Size - 1 }

// String is "0x3f8-0x3ff serial".
func (w *Window) String() string {
	return fmt.Sprintf("%#x-%#x %s", w.Base, w.last(), w.Name)
}

// Bus is one address space. Read and Write may be called by any number of
// goroutines, at the same time as Map and Unmap.
type Bus struct {
	name string
	last uint64

	mu       sync.Mutex // serialises writers of windows
	windows  atomic.Pointer[[]*Window]
	observer atomic.Pointer[Observer]
}

// New makes an empty bus of the addresses 0 to last.
func New(name string, last uint64) *Bus {
	b := &Bus{name: name, last: last}
	b.windows.Store(new([]*Window))
	return b
}

// Name is the name that the bus was made with.
func (b *Bus) Name() string { return b.name }

// Observe has f told of every access from now on; nil turns it off.
func (b *Bus) Observe(f Observer) {
	if f == nil {
		b.observer.Store(nil)
		return
	}
	b.observer.Store(&f)
}

// Map lets h answer size addresses from base on.
func (b *Bus) Map(name string, base, size uint64, h Handler) (*Window, error) {
	w := &Window{Name: name, Base: base, Size: size, handler: h}
	if size == 0 || base > b.last || size-1 > b.last-base {
		return nil, fmt.Errorf("bus: map %s %s at %#x, %#x long: %w", b.name, name, base, size, ErrRange)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.windows.Load()
	i := find(old, base)
	if i < len(old) && old[i].Base <= w.last() {
		return nil, fmt.Errorf("bus: map %s %s: %w (%s)", b.name, w, ErrOverlap, old[i])
	}
	table := slices.Insert(slices.Clone(old), i, w)
	b.windows.Store(&table)
	return w, nil
}

// Unmap takes a window away. An access that a vCPU began before may still be
// in its handler when Unmap returns.
func (b *Bus) Unmap(w *Window) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.windows.Load()
	i := slices.Index(old, w)
	if i < 0 {
		return fmt.Errorf("bus: unmap %s %s: %w", b.name, w, ErrNotMapped)
	}
	table := slices.Delete(slices.Clone(old), i, i+1)
	b.windows.Store(&table)
	return nil
}

// Windows lists the windows in the order of their addresses.
func (b *Bus) Windows() []Window {
	table := *b.windows.Load()
	list := make([]Window, len(table))
	for i, w := range table {
		list[i] = *w
	}
	return list
}

// find gives the index of the first window that ends at addr or after it.
func find(table []*Window, addr uint64) int {
	return sort.Search(len(table), func(i int) bool { return table[i].last() >= addr })
}

// Read fills p with what the bus holds at addr.
func (b *Bus) Read(addr uint64, p []byte) { b.access(addr, p, false) }

// Write puts p on the bus at addr.
func (b *Bus) Write(addr uint64, p []byte) { b.access(addr, p, true) }

func (b *Bus) access(addr uint64, p []byte, write bool) {
	table := *b.windows.Load()
	for len(p) > 0 {
		i := find(table, addr)
		var w *Window
		n := uint64(len(p)) // bytes of this piece of the access
		switch {
		case i == len(table): // past the last window
		case table[i].Base > addr:
			n = min(n, table[i].Base-addr)
		default:
			w = table[i]
			n = min(n, w.last()-addr+1)
		}
		b.piece(w, addr, p[:n], write)
		p = p[n:]
		addr += n // wraps at the top of the address space, as the wires do
	}
}

// piece is the part of an access that lies in w, or in no window if w is nil.
func (b *Bus) piece(w *Window, addr uint64, p []byte, write bool) {
	switch {
	case w == nil && !write:
		for i := range p {
			p[i] = 0xFF
		}
	case w == nil:
	case write:
		w.handler.Write(addr-w.Base, p)
	default:
		w.handler.Read(addr-w.Base, p)
	}
	if f := b.observer.Load(); f != nil {
		device := ""
		if w != nil {
			device = w.Name
		}
		(*f)(Access{Device: device, Addr: addr, Data: p, Write: write})
	}
}
