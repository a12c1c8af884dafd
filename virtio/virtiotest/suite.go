package virtiotest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/virtio"
)

// Suite is what every device has to pass on every transport.
type Suite struct {
	// New makes a device for one test.
	New func(t testing.TB) virtio.Device
	// Probe makes a request to a device that Start started, and fails the test if
	// the answer is wrong.
	Probe func(g *Guest)
	// Rouse, if not nil, has the device look at queue 0 where a kick alone does not:
	// the kernel's vhost looks at a receive queue only when a frame came for it.
	// BrokenRing calls it after it broke the queue.
	Rouse func(g *Guest)
	// Elsewhere says that another process, or the kernel, could serve the queues:
	// guest memory is shared, and kicks come by eventfd; no kind of transport is
	// Direct.
	Elsewhere bool
}

// Run runs the suite on all kinds of transports.
func (s Suite) Run(t *testing.T) {
	for _, k := range Kinds() {
		if k.Direct && s.Elsewhere {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			for _, c := range []struct {
				name string
				run  func(*Guest)
			}{
				{"Fresh", s.fresh},
				{"Features", s.features},
				{"Works", s.works},
				{"FillsQueueBeforeDriverOK", s.filledBefore},
				{"KickBeforeDriverOK", s.kickBefore},
				{"DriverOKTooEarly", s.driverOKTooEarly},
				{"BadQueue", s.badQueue},
				{"QueueInUseStays", s.queueInUseStays},
				{"ReadOnlyRegisters", s.readOnly},
				{"BrokenRing", s.brokenRing},
				{"QueueReset", s.queueReset},
				{"QueueDisable", s.queueDisable},
				{"ResetWithRequests", s.resetWithRequests},
				{"RandomRegisters", s.randomRegisters},
			} {
				t.Run(c.name, func(t *testing.T) { c.run(New(t, k, s.New(t), Options{Shared: s.Elsewhere})) })
			}
		})
	}
}

// ringFeatures are all mixtures of what drivers agree on about the ring.
var ringFeatures = []uint64{
	0,
	1 << virtio.FeatureIndirectDesc,
	1 << virtio.FeatureEventIdx,
	virtio.RingFeatures,
	^uint64(0),
}

// fresh checks the registers of a device that nobody has used.
func (s Suite) fresh(g *Guest) {
	if got, want := g.Type(), g.Dev.Type(); got != want {
		g.Errorf("type = %v, want %v", got, want)
	}
	if got := g.Status(); got != 0 {
		g.Errorf("status = %#x, want 0", got)
	}
	f := g.DeviceFeatures()
	if f&(1<<virtio.FeatureVersion1) == 0 {
		g.Errorf("features %#x: VERSION_1 is not offered", f)
	}
	if missing := g.Dev.Features() &^ f; missing != 0 {
		g.Errorf("features %#x: the device's %#x are not offered", f, missing)
	}
	sizes := g.Dev.QueueSizes()
	for i, want := range sizes {
		if got := g.MaxSize(i); got != want {
			g.Errorf("size of queue %d = %d, want %d", i, got, want)
		}
		if g.Enabled(i) {
			g.Errorf("queue %d is enabled", i)
		}
	}
	for _, i := range []int{len(sizes), 1000, 0xffff} {
		if got := g.MaxSize(i); got != 0 {
			g.Errorf("size of queue %d, which is not there, = %d, want 0", i, got)
		}
	}
}

func (s Suite) features(g *Guest) {
	const version1 = 1 << virtio.FeatureVersion1
	const upTo = virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK
	offered := g.DeviceFeatures()
	for _, c := range []struct {
		name string
		want uint64
		ok   bool
	}{
		{"VERSION_1 alone", version1, true},
		{"all", offered, true},
		{"none", 0, false},
		{"all without VERSION_1", offered &^ version1, false},
		{"packed ring", version1 | 1<<virtio.FeatureRingPacked, false},
		{"a bit that no device has", version1 | 1<<49, false},
		{"everything", ^uint64(0), false},
	} {
		g.ResetDevice()
		g.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
		g.SetDriverFeatures(c.want)
		g.SetStatus(upTo)
		if got := g.Status()&virtio.StatusFeaturesOK != 0; got != c.ok {
			g.Errorf("%s (%#x): FEATURES_OK = %v, want %v", c.name, c.want, got, c.ok)
		}
	}
	// What was agreed upon stays, whatever is written later.
	g.Negotiate(0)
	g.SetDriverFeatures(offered)
	if g.Kind.PCI {
		if got := g.DriverFeatures(); got != version1 {
			g.Errorf("features written after FEATURES_OK: %#x, want %#x", got, uint64(version1))
		}
	}
	// A driver cannot clear a bit but by a reset.
	g.SetStatus(virtio.StatusDriver)
	if got := g.Status(); got != upTo {
		g.Errorf("status after clearing bits = %#x, want %#x", got, upTo)
	}
	// Nor can it set the device's own bit, or those that mean nothing.
	g.SetStatus(0xff &^ (virtio.StatusDriverOK | virtio.StatusFailed))
	if got := g.Status(); got != upTo {
		g.Errorf("status after setting reserved bits = %#x, want %#x", got, upTo)
	}
}

// works makes requests under every mixture of features, again and again on one
// device.
func (s Suite) works(g *Guest) {
	enough := 64
	if s.Elsewhere {
		enough = 8 // several threads wait for each other at each request; and 24 of them still wrap a ring of 16
	}
	for _, f := range ringFeatures {
		for _, size := range []uint16{4, 16, 1 << 15} {
			g.Start(f, size)
			for range 3 * min(int(g.Rings[0].Size), enough) {
				s.Probe(g)
			}
		}
	}
}

// filledBefore offers a request before DRIVER_OK, which the device must not touch
// until then, and finds it done after a kick.
func (s Suite) filledBefore(g *Guest) {
	g.Negotiate(^uint64(0))
	r := g.AddRing(0, min(16, g.MaxSize(0)), 0)
	r.EventIdx = true
	g.SetInterrupts(1)
	if used := r.UsedIdx(); used != 0 {
		g.Fatalf("used index before DRIVER_OK = %d", used)
	}
	g.DriverOK()
	s.Probe(g)
}

// kickBefore kicks before DRIVER_OK: nothing may happen, then or later.
func (s Suite) kickBefore(g *Guest) {
	g.Notify(0)
	g.Notify(len(g.Dev.QueueSizes()))
	g.Notify(0x3ff)
	g.Negotiate(0)
	g.Notify(0)
	if got := g.Status(); got&virtio.StatusNeedsReset != 0 {
		g.Errorf("status = %#x", got)
	}
	g.Start(0, 16)
	g.Notify(0)
	s.Probe(g)
}

func (s Suite) driverOKTooEarly(g *Guest) {
	g.ResetDevice()
	g.SetInterrupts(0)
	g.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusDriverOK)
	g.WaitNeedsReset()
	g.Start(^uint64(0), 16)
	s.Probe(g)
}

func (s Suite) badQueue(g *Guest) {
	good := func() (uint16, *Ring) {
		n := min(16, g.Dev.QueueSizes()[0])
		return n, NewRing(g.Mem, n, g.Alloc)
	}
	for _, c := range []struct {
		name  string
		spoil func(size *uint16, r *Ring)
	}{
		{"size 0", func(n *uint16, _ *Ring) { *n = 0 }},
		{"size 3", func(n *uint16, _ *Ring) { *n = 3 }},
		{"size 65535", func(n *uint16, _ *Ring) { *n = 0xffff }},
		{"twice the largest size", func(n *uint16, _ *Ring) { *n = 2 * g.Dev.QueueSizes()[0] }},
		{"descriptors in the hole", func(_ *uint16, r *Ring) { r.Desc = 0xc0000000 }},
		{"descriptors run out of memory", func(_ *uint16, r *Ring) { r.Desc = LowSize - 16 }},
		{"descriptors wrap around", func(_ *uint16, r *Ring) { r.Desc = ^uint64(0) - 15 }},
		{"descriptors at 8 mod 16", func(_ *uint16, r *Ring) { r.Desc += 8 }},
		{"available ring outside", func(_ *uint16, r *Ring) { r.Avail = LowSize }},
		{"available ring at an odd address", func(_ *uint16, r *Ring) { r.Avail++ }},
		{"used ring runs out of memory", func(_ *uint16, r *Ring) { r.Used = HighBase + HighSize - 8 }},
		{"used ring at 2 mod 4", func(_ *uint16, r *Ring) { r.Used += 2 }},
		{"used ring far outside", func(_ *uint16, r *Ring) { r.Used = 1 << 63 }},
	} {
		g.Negotiate(0)
		size, r := good()
		c.spoil(&size, r)
		g.SetQueue(0, size, r.Desc, r.Avail, r.Used)
		g.Enable(0)
		g.SetInterrupts(1)
		g.DriverOK()
		if !g.WaitConfig(Patience) || g.Status()&virtio.StatusNeedsReset == 0 {
			g.Errorf("%s: status = %#x, want DEVICE_NEEDS_RESET and an interrupt", c.name, g.Status())
		}
		if n := len(g.Reports()); n != 1 {
			g.Errorf("%s: %d reports, want 1", c.name, n)
		}
		g.Notify(0) // nobody is there
	}
	g.Start(^uint64(0), 16)
	s.Probe(g)
}

// queueInUseStays tries to move and resize a queue that runs.
func (s Suite) queueInUseStays(g *Guest) {
	g.Start(^uint64(0), 16)
	s.Probe(g)
	for _, size := range []uint16{0, 1, 3, 8, 0xffff} {
		g.SetQueue(0, size, 0xc0000000, 1, ^uint64(0))
		g.Enable(0)
		if got, want := g.MaxSize(0), g.Rings[0].Size; g.Kind.PCI && got != want {
			g.Fatalf("size of a queue in use became %d, was %d", got, want)
		}
		s.Probe(g)
	}
}

// readOnly writes to what cannot be written.
func (s Suite) readOnly(g *Guest) {
	g.Start(^uint64(0), 16)
	typ, features, status := g.Type(), g.DeviceFeatures(), g.Status()
	space := g.Space()
	// The registers that reset, select and notify are left out: to write them has
	// an effect.
	offs := []uint64{4, 18, 21, 30, 56, 0x1000} // of struct virtio_pci_common_cfg, and ISR
	if !g.Kind.PCI {
		offs = []uint64{0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x060, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0fc}
	}
	for _, off := range offs {
		for _, n := range []int{1, 2, 4, 8} {
			p := slices.Repeat([]byte{0xff}, n)
			if uint64(n)+off <= space.Size && (off != 18 || n <= 2) && (off != 0x060 || n <= 4) {
				g.Host.Write(space.Bus, space.Addr+off, p)
			}
		}
	}
	if g.Kind.PCI {
		p := g.AsPCI()
		for _, off := range []uint16{0x00, 0x08, 0x2c, 0x34, 0x40, 0x44, 0x48, 0x50, 0x100, 0xffc} {
			before := p.Get32(off)
			if off == 0x40 {
				continue // the upper half is MSI-X control
			}
			p.Put32(off, ^before)
			if after := p.Get32(off); after != before {
				g.Errorf("configuration space %#x: %#x became %#x", off, before, after)
			}
		}
	}
	if got := g.Type(); got != typ {
		g.Errorf("type = %v, want %v", got, typ)
	}
	if got := g.DeviceFeatures(); got != features {
		g.Errorf("features = %#x, want %#x", got, features)
	}
	if got := g.Status(); got != status {
		g.Errorf("status = %#x, want %#x", got, status)
	}
	s.Probe(g)
}

// queueReset stops one queue, and starts it again elsewhere.
func (s Suite) queueReset(g *Guest) {
	agreed := g.Start(^uint64(0), 16)
	if agreed&(1<<virtio.FeatureRingReset) == 0 {
		return // the device did not offer it, which Fresh looked at
	}
	for range 3 {
		s.Probe(g)
		g.ResetQueue(0)
		if g.Enabled(0) {
			g.Fatalf("queue 0 is enabled after its reset")
		}
		if got, want := g.MaxSize(0), g.Dev.QueueSizes()[0]; got != want {
			g.Fatalf("size of queue 0 after its reset = %d, want %d", got, want)
		}
		old := g.Rings[0]
		used := old.UsedIdx()
		old.Offer(Piece{GPA: 0x1000, Len: 16})
		g.Notify(0)
		g.AddRing(0, min(8, g.Dev.QueueSizes()[0]), agreed)
		if g.Kind.PCI {
			g.SetInterrupts(len(g.Rings))
		}
		s.Probe(g)
		if got := old.UsedIdx(); got != used {
			g.Errorf("used index of the ring that was = %d, want %d", got, used)
		}
	}
	g.ResetQueue(len(g.Rings))
	g.ResetQueue(0xfffe)
	s.Probe(g)
}

// queueDisable stops one queue where the transport has a register for that.
func (s Suite) queueDisable(g *Guest) {
	g.Start(^uint64(0), 16)
	s.Probe(g)
	if !g.Disable(0) {
		return
	}
	if g.Enabled(0) {
		g.Errorf("queue 0 is still enabled")
	}
	used := g.Rings[0].UsedIdx()
	g.Rings[0].Offer(Piece{GPA: 0x1000, Len: 16})
	g.Notify(0)
	g.ResetDevice()
	g.Start(^uint64(0), 16)
	s.Probe(g)
	_ = used
}

// resetWithRequests resets a device in the middle of its work, many times. After
// the reset it must not touch guest memory any more.
func (s Suite) resetWithRequests(g *Guest) {
	for i := range 50 {
		g.Start(ringFeatures[i%len(ringFeatures)], 16)
		for q, r := range g.Rings {
			for range int(r.Size) / 2 {
				r.Offer(g.In(make([]byte, 16)), g.Out(16))
			}
			g.Notify(q)
		}
		rings := g.Rings
		g.ResetDevice()
		var used []uint16
		for _, r := range rings {
			used = append(used, r.UsedIdx())
		}
		for q := range rings {
			g.Notify(q)
		}
		g.Negotiate(0)
		for q, r := range rings {
			if got := r.UsedIdx(); got != used[q] {
				g.Fatalf("round %d: queue %d: used index went from %d to %d after the reset", i, q, used[q], got)
			}
		}
	}
	g.Start(^uint64(0), 16)
	s.Probe(g)
}

// randomRegisters writes and reads every register at random, most of them at those
// places where there are some, and some while the device runs.
func (s Suite) randomRegisters(g *Guest) {
	rng := rand.New(rand.NewPCG(1, uint64(g.Dev.Type())))
	values := []uint64{0, 1, 2, 3, 4, 8, 15, 16, 0x40, 0x80, 0xff, 0x8000, 0xffff, 0x10000, 0xffffffff, 1 << 63, LowSize - 8, HighBase}
	for range 20 {
		g.Start(^uint64(0), 16)
		s.Probe(g)
		for range 500 {
			space := g.Space()
			off := rng.Uint64N(space.Size)
			if rng.IntN(4) > 0 {
				off = rng.Uint64N(0x100)
			}
			n := 1 << rng.IntN(4)
			v := values[rng.IntN(len(values))]
			if rng.IntN(3) == 0 {
				v = rng.Uint64()
			}
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(v >> (8 * i))
			}
			if off+uint64(n) > space.Size {
				continue
			}
			switch {
			case g.Kind.PCI && rng.IntN(4) == 0:
				g.AsPCI().Config.ConfigWrite(uint16(off%4096), p)
				g.AsPCI().Config.ConfigRead(uint16(off%4096), p)
			default:
				g.Host.Write(space.Bus, space.Addr+off, p)
				g.Host.Read(space.Bus, space.Addr+off, p)
			}
		}
		if g.Kind.PCI {
			p := g.AsPCI()
			if p.MSIX != 0 {
				p.Put16(p.MSIX+2, 0)
			}
			p.Move(p.BAR)
			p.Put16(0x04, 0x6)
			if g.Kind.ViaConfig {
				p.ViaConfig()
			}
		}
	}
	g.Start(^uint64(0), 16)
	s.Probe(g)
}
