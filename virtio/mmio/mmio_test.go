package mmio_test

import (
	"errors"
	"strings"
	"testing"

	"tandem/virtio"
	"tandem/virtio/mmio"
	"tandem/virtio/virtiotest"
)

func newEcho(testing.TB) virtio.Device { return virtiotest.NewEcho(2, 16) }

func newGuest(t testing.TB) (*virtiotest.Guest, *virtiotest.MMIO) {
	t.Helper()
	g := virtiotest.New(t, virtiotest.Kind{}, newEcho(t), virtiotest.Options{})
	return g, g.Registers.(*virtiotest.MMIO)
}

// ping makes a request and waits for its call.
func ping(g *virtiotest.Guest) {
	g.Helper()
	out := g.Out(4)
	g.Do(0, g.In([]byte("ping")), out)
	if got := string(g.Bytes(out.GPA, 4)); got != "ping" {
		g.Fatalf("answer = %q, want ping", got)
	}
}

func TestIdentity(t *testing.T) {
	_, m := newGuest(t)
	for _, c := range []struct {
		name      string
		off       uint64
		want      uint32
		writeOnly bool
	}{
		{"magic", 0x000, 0x74726976, false},
		{"version", 0x004, 2, false},
		{"device", 0x008, 63, false},
		{"vendor", 0x00c, 0x1af4, false},
		{"queue selector", 0x030, 0, true},
		{"queue size", 0x038, 0, true},
		{"queue address", 0x080, 0, true},
		{"shared memory length", 0x0b0, 0xffffffff, false},
		{"shared memory length, high half", 0x0b4, 0xffffffff, false},
		{"shared memory base", 0x0b8, 0xffffffff, false},
		{"a hole", 0x0d0, 0, false},
		{"the end of the window", 0xffc, 0, false},
	} {
		if c.writeOnly {
			m.Set(c.off, 1)
		}
		if got := m.Get(c.off); got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, got, c.want)
		}
	}
	// Registers have 32 bits; other accesses have no effect.
	for _, n := range []int{1, 2, 8} {
		p := make([]byte, n)
		m.Host.Read(virtio.MMIO, m.Base, p)
		for _, b := range p {
			if b != 0 {
				t.Errorf("read of %d bytes = %x, want zeros", n, p)
			}
		}
		p[0] = 1
		m.Host.Write(virtio.MMIO, m.Base+0x070, p)
		if got := m.Status(); got != 0 {
			t.Errorf("status after a write of %d bytes = %#x, want 0", n, got)
		}
	}
	// Only a whole 0 is a reset.
	m.SetStatus(1)
	m.Set(0x070, 0x100)
	if got := m.Status(); got != 1 {
		t.Errorf("status after writing 0x100 = %#x, want 1", got)
	}
}

func TestInterrupts(t *testing.T) {
	dev := virtiotest.NewEcho(2, 16)
	g := virtiotest.New(t, virtiotest.Kind{}, dev, virtiotest.Options{})
	m := g.Registers.(*virtiotest.MMIO)
	g.Start(0, 16)
	g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(0)
	if !g.Line.Wait(virtiotest.Patience) {
		t.Fatal("the line did not rise")
	}
	dev.Count()
	if got := m.Get(0x060); got != 3 {
		t.Errorf("interrupt status = %d, want both bits", got)
	}
	for _, c := range []struct {
		ack, status uint32
		high        bool
	}{
		{0, 3, true},
		{0xfffffffc, 3, true},
		{1, 2, true},
		{1, 2, true},
		{2, 0, false},
		{3, 0, false},
	} {
		m.Set(0x064, c.ack)
		if got := m.Get(0x060); got != c.status || g.Line.High() != c.high {
			t.Errorf("after acknowledging %#x: status %d, line %v, want %d, %v", c.ack, got, g.Line.High(), c.status, c.high)
		}
	}
	// A reset takes back what is pending.
	dev.Count()
	if !g.Line.High() {
		t.Error("the line did not rise")
	}
	g.SetStatus(0)
	if g.Line.High() {
		t.Error("the line is high after a reset")
	}
}

// TestDisable stops a queue by its ready register while the device runs.
func TestDisable(t *testing.T) {
	g, _ := newGuest(t)
	g.Start(0, 16)
	ping(g)
	g.Disable(0)
	r := g.Rings[0]
	r.Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(0)
	// The other queue works: its answer says that the kick was not only slow.
	out := g.Out(1)
	g.Do(1, g.In([]byte("y")), out)
	if got := r.UsedIdx(); got != 1 {
		t.Errorf("used index of a disabled queue = %d, want 1 as before", got)
	}
	if g.Status()&virtio.StatusNeedsReset != 0 {
		t.Error("the device needs a reset")
	}
}

// onlyDevice hides the methods that a device may have beyond those of a
// virtio.Device.
type onlyDevice struct{ virtio.Device }

// TestPlainDevice disables a queue of a device that cannot stop a single one.
func TestPlainDevice(t *testing.T) {
	g := virtiotest.New(t, virtiotest.Kind{}, onlyDevice{newEcho(t)}, virtiotest.Options{})
	g.Start(^uint64(0), 16)
	ping(g)
	g.Disable(0)
	g.WaitNeedsReset()
	if r := g.Reports(); len(r) != 1 || !errors.Is(r[0], errors.ErrUnsupported) {
		t.Errorf("reports = %v, want one that says it is unsupported", r)
	}
	g.Start(^uint64(0), 16)
	ping(g)
}

// TestResetForgetsSelectors leaves selectors behind that a reset has to take away.
func TestResetForgetsSelectors(t *testing.T) {
	_, m := newGuest(t)
	m.Set(0x014, 1)
	m.Set(0x030, 7) // no such queue
	m.SetStatus(0)
	if got := m.Get(0x010); got != 1<<0|1<<28|1<<29 {
		t.Errorf("device features after a reset = %#x, want the lower word", got)
	}
	if got := m.Get(0x034); got != 16 {
		t.Errorf("largest queue size after a reset = %d, want that of queue 0", got)
	}
}

func TestDoorbellsDoNotExit(t *testing.T) {
	g, _ := newGuest(t)
	g.Start(0, 16)
	before := g.Host.Exits()
	g.Notify(0)
	g.Notify(1)
	if n := g.Host.Exits() - before; n != 0 {
		t.Errorf("%d notifications reached a handler, want 0", n)
	}
	g.Notify(2) // no such queue
	if n := g.Host.Exits() - before; n != 1 {
		t.Errorf("%d notifications reached a handler, want the one that matches no doorbell", n)
	}
	ping(g)
}

func TestNewFails(t *testing.T) {
	h, mem := &virtiotest.Host{}, virtiotest.NewMemory(t)
	taken := virtio.Window{Bus: virtio.MMIO, Addr: 0xfeb00800, Size: 0x1000}
	if err := h.Map(taken, nil); err != nil {
		t.Fatal(err)
	}
	_, err := mmio.New(newEcho(t), mem, h, 0xfeb00000, &virtiotest.Line{}, mmio.Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "mmio: new device 63 at 0xfeb00000: ") {
		t.Errorf("New over another window: error = %v", err)
	}
	if _, err := mmio.New(onlyDevice{newEcho(t)}, mem, h, 0, &virtiotest.Line{}, mmio.Options{Direct: true}); err == nil {
		t.Error("New took a device that cannot handle kicks itself for the direct path")
	}
	if err := h.Unmap(taken); err != nil {
		t.Fatal(err)
	}
	h.CheckEmpty(t)
}

// FuzzRegisters has a guest do anything to the registers and to memory. The seed is
// what a real driver does.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte(virtiotest.Record(f, virtiotest.Kind{}, newEcho(f), func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		ping(g)
		g.ResetQueue(0)
		g.AddRing(0, 8, ^uint64(0))
		g.Disable(1)
		g.WriteConfig(8, []byte{1, 2, 3, 4})
		g.Config64(0)
	})))
	virtiotest.Fuzz(f, virtiotest.Kind{}, newEcho, ping)
}
