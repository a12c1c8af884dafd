package virtiotest

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/mmio"
	"tandem/virtio/pci"
	"tandem/virtio/queue"
)

// Patience is how long a test waits for what has to come. Only failures take that
// long.
const Patience = time.Minute

// The guest's memory: two regions with a hole between them, as in a machine.
const (
	LowSize  = 16 << 20
	HighBase = 1 << 32
	HighSize = 1 << 20

	mmioBase = 0xfeb00000
	pciBase  = 0xc0000000
)

// A Kind is a way to plug a device into a machine.
type Kind struct {
	Name string
	PCI  bool
	// MSIX has the PCI driver use MSI-X, else it uses the pin.
	MSIX bool
	// ViaConfig has the PCI driver reach the BAR through configuration space.
	ViaConfig bool
	// Exits leaves out the doorbells: each kick comes to the window's handler.
	Exits bool
	// Direct is the data path "exit": see virtio.Notified.
	Direct bool
}

// Kinds are all ways to plug a device in.
func Kinds() []Kind {
	return []Kind{
		{Name: "pci-msix", PCI: true, MSIX: true},
		{Name: "pci-intx", PCI: true},
		{Name: "pci-config", PCI: true, MSIX: true, ViaConfig: true},
		{Name: "pci-exits", PCI: true, MSIX: true, Exits: true},
		{Name: "pci-direct", PCI: true, MSIX: true, Direct: true},
		{Name: "mmio"},
		{Name: "mmio-exits", Exits: true},
		{Name: "mmio-direct", Direct: true},
	}
}

// Guest is a machine with one device, seen from the inside.
type Guest struct {
	testing.TB
	Registers
	Kind  Kind
	Host  *Host
	Mem   *memory.Space
	Dev   virtio.Device
	Line  *Line
	Rings []*Ring

	Function *pci.Function // nil for a Kind that is not PCI

	free uint64

	mu      sync.Mutex
	reports []error
}

// Options are what a test may choose.
type Options struct {
	Observer queue.Observer
	// Shared has the guest's memory in files that another process can map.
	Shared bool
}

// New plugs the device in. When the test is over, it pulls the device out and
// checks that nothing of it is left on the host.
func New(t testing.TB, k Kind, dev virtio.Device, opt Options) *Guest {
	t.Helper()
	g := &Guest{
		TB: t, Kind: k, Dev: dev, Line: &Line{},
		Host: &Host{NoDoorbells: k.Exits, NoMSI: k.PCI && !k.MSIX},
		free: 0x1000, // no driver uses address 0
	}
	g.Mem = newMemory(t, opt.Shared)
	if k.PCI {
		f, err := pci.New(dev, g.Mem, g.Host, pci.Options{
			Line: g.Line, GSI: 16, Direct: k.Direct, Observer: opt.Observer, Report: g.report,
		})
		if err != nil {
			t.Fatalf("pci.New: %v", err)
		}
		t.Cleanup(func() { g.close(f.Close()) })
		driver, err := NewPCI(g.Host, f, pciBase, g.Line, k.MSIX)
		if err != nil {
			t.Fatalf("find the function: %v", err)
		}
		if k.ViaConfig {
			driver.ViaConfig()
		}
		g.Registers, g.Function = driver, f
		return g
	}
	m, err := mmio.New(dev, g.Mem, g.Host, mmioBase, g.Line, mmio.Options{
		Direct: k.Direct, Observer: opt.Observer, Report: g.report,
	})
	if err != nil {
		t.Fatalf("mmio.New: %v", err)
	}
	t.Cleanup(func() { g.close(m.Close()) })
	g.Registers = NewMMIO(g.Host, mmioBase, g.Line)
	return g
}

// NewMemory makes the guest's memory.
func NewMemory(t testing.TB) *memory.Space {
	t.Helper()
	return newMemory(t, false)
}

func newMemory(t testing.TB, shared bool) *memory.Space {
	t.Helper()
	mapRegion := memory.Map
	if shared {
		mapRegion = memory.MapShared
	}
	var regions []memory.Region
	for _, r := range []struct{ gpa, size uint64 }{{0, LowSize}, {HighBase, HighSize}} {
		region, err := mapRegion(r.gpa, r.size)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { region.Unmap() })
		regions = append(regions, region)
	}
	mem, err := memory.New(regions...)
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

func (g *Guest) close(err error) {
	if err != nil {
		g.Errorf("close: %v", err)
	}
	g.Host.CheckEmpty(g.TB)
	if g.Line.High() {
		g.Errorf("the interrupt line is still high")
	}
}

func (g *Guest) report(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, err)
}

// Reports takes what the transport reported so far.
func (g *Guest) Reports() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.reports
	g.reports = nil
	return r
}

// AsPCI is the driver of a guest whose Kind is PCI.
func (g *Guest) AsPCI() *PCI { return g.Registers.(*PCI) }

// Alloc gives n bytes of zeroed guest memory. What was allocated before a Reset is
// given out again.
func (g *Guest) Alloc(n, align uint64) uint64 {
	g.free = (g.free + align - 1) &^ (align - 1)
	gpa := g.free
	b, err := g.Mem.Slice(gpa, n)
	if err != nil {
		g.Fatalf("guest memory is used up: %v", err)
	}
	clear(b)
	g.free += n
	return gpa
}

// ReuseFrom gives back what was allocated from gpa on.
func (g *Guest) ReuseFrom(gpa uint64) { g.free = gpa }

// Bytes is guest memory.
func (g *Guest) Bytes(gpa, n uint64) []byte {
	b, err := g.Mem.Slice(gpa, n)
	if err != nil {
		g.Fatal(err)
	}
	return b
}

// Put allocates guest memory for b and gives its address.
func (g *Guest) Put(b []byte) uint64 {
	gpa := g.Alloc(uint64(len(b)), 1)
	copy(g.Bytes(gpa, uint64(len(b))), b)
	return gpa
}

// In is a piece with b for the device to read, Out one of n bytes for the device to
// write.
func (g *Guest) In(b []byte) Piece { return Piece{GPA: g.Put(b), Len: uint32(len(b))} }

// Out is a piece of n bytes for the device to write.
func (g *Guest) Out(n uint32) Piece {
	return Piece{GPA: g.Alloc(uint64(n), 1), Len: n, Write: true}
}

// ResetDevice resets the device, and forgets rings and allocations.
func (g *Guest) ResetDevice() {
	g.Helper()
	g.SetStatus(0)
	if s := g.Status(); s != 0 {
		g.Fatalf("status after reset = %#x, want 0", s)
	}
	g.free = 0x1000
	g.Rings = nil
}

// Negotiate takes a driver up to FEATURES_OK, wanting those of the features that
// are offered, and VERSION_1. It returns what was agreed upon.
func (g *Guest) Negotiate(features uint64) uint64 {
	g.Helper()
	g.ResetDevice()
	g.SetStatus(virtio.StatusAcknowledge)
	g.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
	agreed := g.DeviceFeatures() & (features | 1<<virtio.FeatureVersion1)
	g.SetDriverFeatures(agreed)
	want := uint8(virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK)
	g.SetStatus(want)
	if s := g.Status(); s != want {
		g.Fatalf("status after FEATURES_OK with features %#x = %#x, want %#x", agreed, s, want)
	}
	return agreed
}

// Start takes a driver all the way: reset, features, rings for all queues (of at
// most size entries), DRIVER_OK.
func (g *Guest) Start(features uint64, size uint16) uint64 {
	g.Helper()
	agreed := g.Negotiate(features)
	for i := 0; g.MaxSize(i) != 0; i++ {
		g.AddRing(i, min(size, g.MaxSize(i)), agreed)
	}
	g.SetInterrupts(len(g.Rings))
	g.DriverOK()
	if s := g.Status(); s&virtio.StatusNeedsReset != 0 {
		g.Fatalf("status after DRIVER_OK = %#x: %v", s, g.Reports())
	}
	return agreed
}

// AddRing makes a ring for a queue and enables it.
func (g *Guest) AddRing(i int, size uint16, agreed uint64) *Ring {
	r := NewRing(g.Mem, size, g.Alloc)
	r.EventIdx = agreed&(1<<virtio.FeatureEventIdx) != 0
	g.SetQueue(i, size, r.Desc, r.Avail, r.Used)
	g.Enable(i)
	for len(g.Rings) <= i {
		g.Rings = append(g.Rings, nil)
	}
	g.Rings[i] = r
	return r
}

// DriverOK sets DRIVER_OK.
func (g *Guest) DriverOK() { g.SetStatus(g.Status() | virtio.StatusDriverOK) }

// Kick notifies a queue if the device wants to be.
func (g *Guest) Kick(queue int) {
	if g.Rings[queue].NeedsKick() {
		g.Notify(queue)
	}
}

// WaitUsed waits, by interrupts, for the next chain that the device gives back.
func (g *Guest) WaitUsed(queue int) Used {
	g.Helper()
	r := g.Rings[queue]
	for {
		if u, ok := r.Take(); ok {
			return u
		}
		if r.WantCall(0) {
			continue
		}
		if !g.WaitQueue(queue, Patience) {
			g.Fatalf("queue %d: no call (status %#x, used index %d): %v", queue, g.Status(), r.UsedIdx(), g.Reports())
		}
	}
}

// Do offers a buffer, kicks and waits until it comes back.
func (g *Guest) Do(queue int, pieces ...Piece) Used {
	g.Helper()
	head := g.Rings[queue].Offer(pieces...)
	g.Kick(queue)
	u := g.WaitUsed(queue)
	if u.Head != uint32(head) {
		g.Fatalf("queue %d: chain %d came back, want %d", queue, u.Head, head)
	}
	return u
}

// WaitNeedsReset waits until the device asks for a reset, and for the interrupt
// that says so.
func (g *Guest) WaitNeedsReset() {
	g.Helper()
	if !g.WaitConfig(Patience) {
		g.Fatalf("no configuration interrupt (status %#x)", g.Status())
	}
	if s := g.Status(); s&virtio.StatusNeedsReset == 0 {
		g.Fatalf("status = %#x, want DEVICE_NEEDS_RESET in it", s)
	}
}

// Config16, Config32 and Config64 read the device's configuration space.
func (g *Guest) Config16(off uint32) uint16 {
	b := make([]byte, 2)
	g.ReadConfig(off, b)
	return binary.LittleEndian.Uint16(b)
}

// Config32 reads the device's configuration space.
func (g *Guest) Config32(off uint32) uint32 {
	b := make([]byte, 4)
	g.ReadConfig(off, b)
	return binary.LittleEndian.Uint32(b)
}

// Config64 reads the device's configuration space in two accesses, as a driver has
// to: it tries again if the generation changed meanwhile.
func (g *Guest) Config64(off uint32) uint64 {
	for {
		gen := g.Generation()
		v := uint64(g.Config32(off)) | uint64(g.Config32(off+4))<<32
		if g.Generation() == gen {
			return v
		}
	}
}
