package pci_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/pci"
	"tandem/virtio/virtiotest"
)

var (
	kindMSIX = virtiotest.Kind{PCI: true, MSIX: true}
	kindINTx = virtiotest.Kind{PCI: true}
)

func newGuest(t testing.TB, k virtiotest.Kind) (*virtiotest.Guest, *virtiotest.PCI) {
	t.Helper()
	g := virtiotest.New(t, k, virtiotest.NewEcho(2, 16), virtiotest.Options{})
	return g, g.AsPCI()
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

func TestHeader(t *testing.T) {
	_, p := newGuest(t, kindMSIX)
	for _, c := range []struct {
		name      string
		got, want uint32
	}{
		{"vendor and device", p.Get32(0x00), 0x107f1af4},
		{"revision and class", p.Get32(0x08), 0xff000001},
		{"header type", uint32(p.Get8(0x0e)), 0},
		{"subsystem", p.Get32(0x2c), 0x107f1af4},
		{"status: capabilities", uint32(p.Get16(0x06)), 0x10},
		{"interrupt line and pin", uint32(p.Get16(0x3c)), 0x0110},
		{"vectors", uint32(p.Vectors), 3},
		{"extended space", p.Get32(0x100), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, c.got, c.want)
		}
	}
	for kind, c := range p.Caps {
		if kind != 5 && c.Offset+c.Length > p.BARSize {
			t.Errorf("cfg_type %d lies at %#x+%#x, beyond the BAR of %#x", kind, c.Offset, c.Length, p.BARSize)
		}
	}
	// Reads that are odd in every way.
	var b [8]byte
	for off := range 300 {
		p.Config.ConfigRead(uint16(off), b[:1+off%8])
	}
	p.Config.ConfigRead(0xffff, b[:])
	if b != [8]byte{} {
		t.Errorf("read beyond the end = %x, want zeros", b)
	}
}

func TestBARSize(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	bars := g.Function.BARs()
	if len(bars) != 1 || bars[0].Size != p.BARSize || bars[0].Index != 0 {
		t.Errorf("BARs = %+v, found size %#x", bars, p.BARSize)
	}
	for off := uint16(0x14); off < 0x28; off += 4 {
		p.Put32(off, 0xffffffff)
		if got := p.Get32(off); got != 0 {
			t.Errorf("BAR at %#x = %#x, want none", off, got)
		}
	}
	// While software finds out the size with decoding left on, the BAR is nowhere.
	p.Put32(0x10, 0xffffffff)
	if w := g.Host.Windows(); len(w) != 0 {
		t.Errorf("windows = %+v while the BAR is all ones", w)
	}
	// A write of single bytes counts as well.
	p.Config.ConfigWrite(0x10, []byte{0, 0, 0, 0xc8})
	p.Config.ConfigWrite(0x13, []byte{0xc4})
	if w := g.Host.Windows(); len(w) != 1 || w[0].Addr != 0xc4000000 {
		t.Errorf("windows = %+v, want one at 0xc4000000", w)
	}
}

func TestBARMoves(t *testing.T) {
	for _, k := range []virtiotest.Kind{kindMSIX, {PCI: true, MSIX: true, Exits: true}} {
		g, p := newGuest(t, k)
		g.Start(^uint64(0), 16)
		ping(g)
		old := p.BAR
		p.Move(0xd0000000)
		ping(g)
		var b [2]byte
		g.Host.Read(virtio.MMIO, old, b[:])
		if b != [2]byte{0xff, 0xff} {
			t.Errorf("the old address reads %x, want nothing there", b)
		}
		if got, want := g.Host.Doorbells(), 2; got != want && !k.Exits {
			t.Errorf("doorbells = %d, want %d", got, want)
		}

		p.Put16(0x04, 0x4) // decoding off
		if w, d := g.Host.Windows(), g.Host.Doorbells(); len(w) != 0 || d != 0 {
			t.Errorf("decoding is off: windows = %+v, doorbells = %d", w, d)
		}
		p.Put16(0x04, 0x6)
		ping(g)
	}
}

// TestBARHasNoRoom moves the BAR onto another device, and away from there.
func TestBARHasNoRoom(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	other := virtio.Window{Bus: virtio.MMIO, Addr: 0xd0001000, Size: 0x1000}
	if err := g.Host.Map(other, nil); err != nil {
		t.Fatal(err)
	}
	g.Start(0, 16)
	p.Move(0xd0000000)
	if w := g.Host.Windows(); len(w) != 1 || w[0] != other {
		t.Errorf("windows = %+v, want the other device's alone", w)
	}
	if r := g.Reports(); len(r) != 1 || !strings.Contains(r[0].Error(), "pci: map BAR 0 at 0xd0000000: ") {
		t.Errorf("reports = %v", r)
	}
	p.Move(0xd0100000)
	ping(g)
	if err := g.Host.Unmap(other); err != nil {
		t.Fatal(err)
	}
}

func TestVectorMask(t *testing.T) {
	dev := virtiotest.NewEcho(2, 16)
	g := virtiotest.New(t, kindMSIX, dev, virtiotest.Options{})
	p := g.AsPCI()
	g.Start(0, 16)
	// What is on its way is not pending.
	dev.Count()
	if p.Pending(0) {
		t.Error("an unmasked vector is pending")
	}
	if !g.WaitConfig(virtiotest.Patience) {
		t.Error("no configuration interrupt")
	}
	const vector = 1 // queue 0's
	for _, c := range []struct {
		name         string
		mask, unmask func()
	}{
		{"vector", func() { p.Mask(vector, true) }, func() { p.Mask(vector, false) }},
		{"function", func() { p.Put16(p.MSIX+2, 0xc000) }, func() { p.Put16(p.MSIX+2, 0x8000) }},
	} {
		c.mask()
		if p.Pending(vector) {
			t.Errorf("%s: pending before anything happened", c.name)
		}
		g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
		g.Notify(0)
		waitFor(t, "the pending bit", func() bool { return p.Pending(vector) })
		if p.Pending(0) || p.Pending(2) {
			t.Errorf("%s: other vectors are pending", c.name)
		}
		if p.WaitVector(vector, 0) {
			t.Errorf("%s: a masked vector was delivered", c.name)
		}
		// The message is the one at the time of the delivery.
		p.SetEntry(vector, 0xfee01000, 0x99, true)
		c.unmask()
		p.Mask(vector, false)
		if !g.Host.WaitMSI(0xfee01000, 0x99, virtiotest.Patience) {
			t.Errorf("%s: nothing was delivered after unmasking", c.name)
		}
		if p.Pending(vector) {
			t.Errorf("%s: still pending", c.name)
		}
		p.SetEntry(vector, 0xfee00000, 0x40+vector, false)
		g.Rings[0].Take()
	}
	ping(g)
}

// TestResetForgets leaves things behind that a reset has to take away.
func TestResetForgets(t *testing.T) {
	dev := virtiotest.NewEcho(2, 16)
	g := virtiotest.New(t, kindMSIX, dev, virtiotest.Options{})
	p := g.AsPCI()
	g.Start(0, 16)
	p.Mask(0, true)
	dev.Count()
	if !p.Pending(0) {
		t.Error("a masked vector is not pending")
	}
	g.MaxSize(1)       // selects queue 1
	g.DeviceFeatures() // selects word 1
	g.SetStatus(0)
	if p.Pending(0) {
		t.Error("an interrupt from before the reset is pending")
	}
	common := p.BAR + p.Caps[1].Offset
	for _, sel := range []uint64{0, 8, 22} {
		var b [4]byte
		n := 4
		if sel == 22 {
			n = 2
		}
		g.Host.Read(virtio.MMIO, common+sel, b[:n])
		if b != [4]byte{} {
			t.Errorf("selector at %d = %x after a reset", sel, b)
		}
	}
}

// TestConfigurationWindow points the window in configuration space at what it
// cannot reach: nothing happens there, and its data stays what was written.
func TestConfigurationWindow(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(0, 16)
	at := p.Caps[5].At
	const table = 0x4000
	for _, c := range []struct {
		name   string
		bar    byte
		off, n uint32
	}{
		{"another BAR", 1, table, 4},
		{"a length of 3", 0, table, 3},
		{"a length of 0", 0, table, 0},
		{"a length of 8", 0, table, 8},
		{"an offset that is not aligned", 0, table + 2, 4},
		{"an odd offset", 0, table + 1, 2},
		{"the end of the BAR", 0, uint32(p.BARSize), 4},
		{"the end of all addresses", 0, 0xfffffffc, 4},
	} {
		p.Config.ConfigWrite(at+4, []byte{c.bar})
		p.Put32(at+8, c.off)
		p.Put32(at+12, c.n)
		p.Put32(at+16, 0xdeadbeef)
		if got := p.Get32(at + 16); got != 0xdeadbeef {
			t.Errorf("%s: data = %#x, want it unchanged", c.name, got)
		}
	}
	var b [12]byte
	g.Host.Read(virtio.MMIO, p.BAR+table, b[:])
	if want := [12]byte{3: 0xfe, 2: 0xe0, 8: 0x40}; b != want {
		t.Errorf("the first vector became %x, was %x", b, want)
	}
	// And once as it should be: the status, one byte.
	p.Config.ConfigWrite(at+4, []byte{0})
	p.Put32(at+8, 20)
	p.Put32(at+12, 1)
	if got := p.Get32(at + 16); got != 0xdeadbe0f {
		t.Errorf("data = %#x, want 0x0f in its first byte", got)
	}
}

// waitFor waits for something that another goroutine brings about and that nothing
// announces.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(virtiotest.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestVectors(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(0, 16)
	common := p.BAR + p.Caps[1].Offset
	get := func(off uint64) uint16 {
		var b [2]byte
		g.Host.Read(virtio.MMIO, common+off, b[:])
		return uint16(b[0]) | uint16(b[1])<<8
	}
	put := func(off uint64, v uint16) {
		g.Host.Write(virtio.MMIO, common+off, []byte{byte(v), byte(v >> 8)})
	}
	put(22, 0)
	for _, reg := range []uint64{16, 26} {
		for _, c := range []struct{ put, want uint16 }{{2, 2}, {3, 0xffff}, {0, 0}, {0x1234, 0xffff}, {1, 1}, {0xffff, 0xffff}} {
			put(reg, c.put)
			if got := get(reg); got != c.want {
				t.Errorf("vector register %d after writing %#x = %#x, want %#x", reg, c.put, got, c.want)
			}
		}
	}
	put(22, 77) // no such queue
	put(26, 1)
	if got := get(26); got != 0xffff {
		t.Errorf("vector of a queue that is not there = %#x, want none", got)
	}
	// A queue without a vector calls nobody.
	g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(0)
	waitFor(t, "the answer", func() bool { return g.Rings[0].UsedIdx() == 1 })
	for v := range p.Vectors {
		if p.WaitVector(v, 0) {
			t.Errorf("vector %d was delivered", v)
		}
	}
	// All vectors are gone after a reset.
	put(16, 0)
	g.SetStatus(0)
	if got := get(16); got != 0xffff {
		t.Errorf("configuration vector after reset = %#x, want none", got)
	}
}

// TestBadMessage has the host refuse a message: the vector stays masked, and the
// device goes on.
func TestBadMessage(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(0, 16)
	ping(g)
	g.Reports()
	p.SetEntry(1, 0x1000, 0x41, false)
	if r := g.Reports(); len(r) == 0 || !strings.Contains(r[len(r)-1].Error(), "pci: vector 1: message 0x41 to 0x1000: ") {
		t.Errorf("reports = %v", r)
	}
	g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(0)
	waitFor(t, "the pending bit", func() bool { return p.Pending(1) })
	p.SetEntry(1, 0xfee00000, 0x41, false)
	if !p.WaitVector(1, virtiotest.Patience) {
		t.Error("nothing was delivered once the message was good")
	}
}

func TestPin(t *testing.T) {
	g, p := newGuest(t, kindINTx)
	g.Start(0, 16)
	request := func() {
		g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
		g.Notify(0)
	}
	request()
	if !g.WaitQueue(0, virtiotest.Patience) || g.Line.High() {
		t.Error("the pin did not rise, or is high after the ISR status was read")
	}
	// With the pin off, the interrupt shows in the status register alone.
	p.Put16(0x04, 0x406)
	request()
	waitFor(t, "the interrupt status", func() bool { return p.Get16(0x06)&8 != 0 })
	if g.Line.High() {
		t.Error("the pin is high though it is disabled")
	}
	p.Put16(0x04, 0x6)
	if !g.Line.High() {
		t.Error("the pin is low though an interrupt is pending")
	}
	if !g.WaitQueue(0, 0) || g.Line.High() || p.Get16(0x06)&8 != 0 {
		t.Error("reading the ISR status did not clear the interrupt")
	}
	// The device's reset takes a pending interrupt back.
	request()
	if !g.Line.Wait(virtiotest.Patience) {
		t.Fatal("the pin did not rise")
	}
	g.SetStatus(0)
	if g.Line.High() {
		t.Error("the pin is high after a reset")
	}
}

// TestPinGivesWayToMSIX turns MSI-X on while the pin is high.
func TestPinGivesWayToMSIX(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(0, 16)
	p.Put16(p.MSIX+2, 0) // back to the pin
	g.Rings[0].Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(0)
	if !g.Line.Wait(virtiotest.Patience) {
		t.Fatal("the pin did not rise")
	}
	p.Put16(p.MSIX+2, 0x8000)
	if g.Line.High() {
		t.Error("the pin is high with MSI-X enabled")
	}
	g.Rings[0].Take()
	ping(g)
}

// TestEvents checks what a device can hand to vhost.
func TestEvents(t *testing.T) {
	for _, k := range []virtiotest.Kind{kindMSIX, kindINTx} {
		dev := &keeper{Echo: virtiotest.NewEcho(2, 16)}
		g := virtiotest.New(t, k, dev, virtiotest.Options{})
		g.Start(0, 16)
		event := dev.a.Queues[1].Config().Interrupt.Event()
		if !k.MSIX {
			if event != nil {
				t.Error("the pin has an eventfd")
			}
			continue
		}
		if event == nil {
			t.Fatal("the queue's vector has no eventfd")
		}
		event.Signal()
		if !g.WaitQueue(1, virtiotest.Patience) {
			t.Error("the eventfd does not raise the queue's interrupt")
		}
		if dev.a.Queues[1].Kick == nil || dev.a.Queues[1].Kick == dev.a.Queues[0].Kick {
			t.Error("the queues have no kicks of their own")
		}
	}
}

// keeper keeps its activation.
type keeper struct {
	*virtiotest.Echo
	a *virtio.Activation
}

func (k *keeper) Activate(a *virtio.Activation) error {
	k.a = a
	return k.Echo.Activate(a)
}

// TestDoorbellsDoNotExit counts the accesses that reach the monitor.
func TestDoorbellsDoNotExit(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(0, 16)
	before := g.Host.Exits()
	for queue := range uint64(2) {
		p.NotifyAt(4*queue, int(queue))
	}
	if n := g.Host.Exits() - before; n != 0 {
		t.Errorf("%d notifications reached a handler, want 0", n)
	}
	// A driver that rings elsewhere in the page rings nothing.
	for _, off := range []uint64{1, 2, 8, 0xffc} {
		p.NotifyAt(off, 0)
	}
	ping(g)
}

// TestResetForgetsKicks kicks a device that is not there yet.
func TestResetForgetsKicks(t *testing.T) {
	dev := &keeper{Echo: virtiotest.NewEcho(1, 16)}
	g := virtiotest.New(t, kindMSIX, dev, virtiotest.Options{})
	g.Start(0, 16)
	kick := dev.a.Queues[0].Kick
	g.ResetDevice()
	g.Notify(0)
	if !kick.Pending() {
		t.Error("a kick did not reach the eventfd")
	}
	g.ResetDevice()
	if kick.Pending() {
		t.Error("a kick from before the reset is still there")
	}
}

// TestReset is the machine's reset.
func TestReset(t *testing.T) {
	g, p := newGuest(t, kindMSIX)
	g.Start(^uint64(0), 16)
	ping(g)
	bar := p.BAR
	g.Function.Reset()
	if w, d := g.Host.Windows(), g.Host.Doorbells(); len(w) != 0 || d != 0 {
		t.Errorf("windows = %+v, doorbells = %d after a reset", w, d)
	}
	for _, c := range []struct {
		name string
		got  uint32
	}{
		{"command", uint32(p.Get16(0x04))},
		{"BAR", p.Get32(0x10)},
		{"MSI-X control", uint32(p.Get16(p.MSIX+2) &^ 0x7ff)},
		{"window's offset", p.Get32(p.Caps[5].At + 8)},
	} {
		if c.got != 0 {
			t.Errorf("%s = %#x after a reset, want 0", c.name, c.got)
		}
	}
	if got := p.Get8(0x3c); got != 16 {
		t.Errorf("interrupt line = %d, want the firmware's 16", got)
	}
	p.Move(bar)
	p.Put16(0x04, 0x6)
	if s := g.Status(); s != 0 {
		t.Errorf("device status = %#x after a reset", s)
	}
	g.Start(^uint64(0), 16)
	ping(g)
}

// limited is a host that has few MSIs.
type limited struct {
	*virtiotest.Host
	msis int
	err  error
}

func (l *limited) MSI() (virtio.MSI, error) {
	if l.msis--; l.msis < 0 {
		return nil, l.err
	}
	return l.Host.MSI()
}

func TestNewFails(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	noMSI := errors.New("out of interrupts")
	for _, c := range []struct {
		name   string
		dev    virtio.Device
		msis   int
		direct bool
		want   string
	}{
		{"no more MSIs", virtiotest.NewEcho(3, 16), 2, false, "pci: new device 63: vector 2: out of interrupts"},
		{"none at all, for a reason", virtiotest.NewEcho(3, 16), 0, false, "pci: new device 63: vector 0: out of interrupts"},
		{"too many queues", virtiotest.NewEcho(1025, 16), 2000, false, "pci: new device 63: 1025 queues: more than 1024"},
		{"bad size", virtiotest.NewEcho(2, 17), 9, false, "virtio: new device 63: queue 0: size 17 is not a power of two up to 32768"},
		{"cannot do it directly", onlyDevice{virtiotest.NewEcho(2, 16)}, 9, true, "virtio: new device 63: cannot handle kicks in the vCPU's thread"},
	} {
		h := &limited{Host: &virtiotest.Host{}, msis: c.msis, err: noMSI}
		_, err := pci.New(c.dev, mem, h, pci.Options{Direct: c.direct})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error = %v, want %q", c.name, err, c.want)
		}
		h.CheckEmpty(t)
	}
}

// onlyDevice hides the methods that a device may have beyond those of a
// virtio.Device.
type onlyDevice struct{ virtio.Device }

// TestManyQueues has more queues than one page of the table holds vectors.
func TestManyQueues(t *testing.T) {
	g := virtiotest.New(t, kindMSIX, virtiotest.NewEcho(300, 2), virtiotest.Options{})
	g.Start(0, 2)
	for _, q := range []int{0, 1, 255, 256, 299} {
		out := g.Out(2)
		g.Do(q, g.In([]byte(fmt.Sprint(q%10, "x"))), out)
	}
	p := g.AsPCI()
	p.Mask(300, true)
	g.Rings[299].Offer(g.In([]byte("x")), g.Out(1))
	g.Notify(299)
	waitFor(t, "the pending bit", func() bool { return p.Pending(300) })
}

// TestPlainDevice runs a device that can neither reset single queues nor handle
// kicks itself.
func TestPlainDevice(t *testing.T) {
	g := virtiotest.New(t, kindMSIX, onlyDevice{virtiotest.NewEcho(2, 16)}, virtiotest.Options{})
	if f := g.Start(^uint64(0), 16); f&(1<<virtio.FeatureRingReset) != 0 {
		t.Errorf("features %#x: RING_RESET was offered", f)
	}
	ping(g)
	g.ResetQueue(0)
	if !g.Enabled(0) {
		t.Error("a queue was reset without the feature")
	}
	ping(g)
}

// failing is a device that cannot start.
type failing struct{ *virtiotest.Echo }

func (failing) Activate(*virtio.Activation) error { return errors.New("no back-end") }

func TestActivateFails(t *testing.T) {
	g := virtiotest.New(t, kindMSIX, failing{virtiotest.NewEcho(1, 16)}, virtiotest.Options{})
	g.Negotiate(0)
	g.AddRing(0, 16, 0)
	g.SetInterrupts(1)
	g.DriverOK()
	g.WaitNeedsReset()
	if r := g.Reports(); len(r) != 1 || r[0].Error() != "virtio: device 63 needs a reset: no back-end" {
		t.Errorf("reports = %v", r)
	}
	g.SetStatus(0)
	if s := g.Status(); s != 0 {
		t.Errorf("status after reset = %#x", s)
	}
}

// TestOldActivationCannotFail has a device complain after it was reset.
func TestOldActivationCannotFail(t *testing.T) {
	dev := &keeper{Echo: virtiotest.NewEcho(1, 16)}
	g := virtiotest.New(t, kindMSIX, dev, virtiotest.Options{})
	g.Start(0, 16)
	fail := dev.a.Fail
	g.ResetDevice()
	fail(errors.New("too late"))
	if s := g.Status(); s != 0 {
		t.Errorf("status = %#x: an activation that is over made the device fail", s)
	}
	g.Start(0, 16)
	fail(errors.New("even later"))
	if s := g.Status(); s&virtio.StatusNeedsReset != 0 {
		t.Errorf("status = %#x: an activation that is over made the next one fail", s)
	}
	ping(g)
	dev.a.Fail(errors.New("in time"))
	dev.a.Fail(errors.New("once is enough"))
	g.WaitNeedsReset()
	if r := g.Reports(); len(r) != 1 {
		t.Errorf("reports = %v, want one", r)
	}
}
