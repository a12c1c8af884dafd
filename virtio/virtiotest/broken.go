package virtiotest

import (
	"errors"
	"strings"

	"tandem/virtio/queue"
)

// Breakage is a way in which a driver can break a ring.
type Breakage struct {
	Name string
	// Reason is part of what the queue.Error must say.
	Reason string
	// Needs are ring features without which the breakage is none.
	Needs uint64
	// Break makes a bad chain available. The memory given is a page for it to use.
	Break func(g *Guest, r *Ring, page uint64)
}

// Breakages are all ways to break a ring that package queue has to notice.
func Breakages() []Breakage {
	piece := func(addr uint64, n uint32, flags, next uint16) func(*Guest, *Ring, uint64) {
		return func(_ *Guest, r *Ring, page uint64) {
			if addr == 0 {
				addr = page
			}
			r.SetDesc(0, addr, n, flags, next)
			r.SetAvail(0)
		}
	}
	indirect := func(fill func(g *Guest, r *Ring, table []byte, page uint64), n uint32, flags, next uint16) func(*Guest, *Ring, uint64) {
		return func(g *Guest, r *Ring, page uint64) {
			if fill != nil {
				fill(g, r, g.Bytes(page, 4096), page)
			}
			r.SetDesc(0, page, n, Indirect|flags, next)
			r.SetAvail(0)
		}
	}
	const indirectDesc = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	return []Breakage{
		{"head beyond the table", "head is beyond", 0, func(_ *Guest, r *Ring, _ uint64) { r.SetAvail(r.Size) }},
		{"head 65535", "head is beyond", 0, func(_ *Guest, r *Ring, _ uint64) { r.SetAvail(0xffff) }},
		{"available index jumps", "jumped", 0, func(_ *Guest, r *Ring, _ uint64) { r.SetAvailIdx(r.AvailIdx() + r.Size + 1) }},
		{"available index goes back", "jumped", 0, func(_ *Guest, r *Ring, _ uint64) { r.SetAvailIdx(r.AvailIdx() - 1) }},
		{"next beyond the table", "next descriptor", 0, piece(0, 16, Next, 0xffff)},
		{"loop of one", "loop", 0, piece(0, 1, Next, 0)},
		{"loop of three", "loop", 0, func(_ *Guest, r *Ring, page uint64) {
			for i := range uint16(3) {
				r.SetDesc(i, page, 16, Next, (i+1)%3)
			}
			r.SetAvail(0)
		}},
		{"no length", "no length", 0, piece(0, 0, 0, 0)},
		{"no length to write", "no length", 0, piece(0, 0, Write, 0)},
		{"in the hole", "outside guest memory", 0, piece(LowSize, 1, 0, 0)},
		{"in the device's own window", "outside guest memory", 0, piece(0xc0000000, 64, Write, 0)},
		{"runs out of memory", "outside guest memory", 0, piece(LowSize-4, 8, Write, 0)},
		{"wraps around", "outside guest memory", 0, piece(^uint64(0), 2, 0, 0)},
		{"wraps around with the largest length", "outside guest memory", 0, piece(^uint64(0)-7, 0xffffffff, Write, 0)},
		{"ends beyond the second region", "outside guest memory", 0, piece(HighBase+HighSize-1, 2, 0, 0)},
		{"reads after it writes", "readable piece after", 0, func(_ *Guest, r *Ring, page uint64) {
			r.SetDesc(0, page, 16, Write|Next, 1)
			r.SetDesc(1, page, 16, 0, 0)
			r.SetAvail(0)
		}},
		{"indirect table that was not agreed on", "", 0, func(g *Guest, r *Ring, page uint64) {
			// Only without the feature: with it this is a table of one descriptor
			// that is a loop.
			PutDesc(g.Bytes(page, 16), page, 16, Next, 0)
			r.SetDesc(0, page, 16, Indirect, 0)
			r.SetAvail(0)
		}},
		{"indirect table in an indirect table", "inside an indirect", indirectDesc, indirect(func(_ *Guest, _ *Ring, b []byte, page uint64) {
			PutDesc(b, page+64, 16, Indirect, 0)
		}, 32, 0, 0)},
		{"indirect table that goes on in the main table", "continues", indirectDesc, indirect(func(_ *Guest, r *Ring, b []byte, page uint64) {
			PutDesc(b, page, 16, 0, 0)
			r.SetDesc(1, page, 16, Write, 0)
		}, 16, Next, 1)},
		{"empty indirect table", "table of 0 bytes", indirectDesc, indirect(nil, 0, 0, 0)},
		{"indirect table of 24 bytes", "table of 24 bytes", indirectDesc, indirect(nil, 24, 0, 0)},
		{"indirect table outside", "indirect table: memory", indirectDesc, func(_ *Guest, r *Ring, _ uint64) {
			r.SetDesc(0, LowSize-16, 32, Indirect, 0)
			r.SetAvail(0)
		}},
		{"indirect table of 4 GiB", "outside guest memory", indirectDesc, indirect(nil, 0xfffffff0, 0, 0)},
		{"loop in an indirect table", "loop", indirectDesc, indirect(func(_ *Guest, _ *Ring, b []byte, page uint64) {
			PutDesc(b, page, 16, Next, 1)
			PutDesc(b[16:], page, 16, Next, 0)
		}, 64, 0, 0)},
		{"next beyond an indirect table", "next descriptor", indirectDesc, indirect(func(_ *Guest, _ *Ring, b []byte, page uint64) {
			PutDesc(b, page, 16, Next, 2)
			PutDesc(b[32:], page, 16, 0, 0)
		}, 32, 0, 0)},
		{"more than 4 GiB", "more than 4294967296", indirectDesc, func(g *Guest, r *Ring, _ uint64) {
			const n = 256 // each of them all of the lower region
			table := g.Alloc(16*(n+1), 16)
			b := g.Bytes(table, 16*(n+1))
			for i := range n {
				PutDesc(b[16*i:], 0, LowSize, Next, uint16(i+1))
			}
			PutDesc(b[16*n:], 0, 1, 0, 0)
			r.SetDesc(0, table, 16*(n+1), Indirect, 0)
			r.SetAvail(0)
		}},
	}
}

// brokenRing breaks the ring in every way. The device has to ask for a reset, name
// the reason, and work again after it.
func (s Suite) brokenRing(g *Guest) {
	for _, features := range []uint64{0, ^uint64(0)} {
		for _, b := range Breakages() {
			if b.Needs&^features != 0 {
				continue
			}
			agreed := g.Start(features, 16)
			s.Probe(g)
			page := g.Alloc(4096, 16)
			b.Break(g, g.Rings[0], page)
			g.Notify(0)
			if s.Rouse != nil {
				s.Rouse(g)
			}
			if !g.WaitConfig(Patience) || g.Status()&0x40 == 0 {
				g.Fatalf("%s (features %#x): status = %#x, want DEVICE_NEEDS_RESET and an interrupt", b.Name, agreed, g.Status())
			}
			reports := g.Reports()
			var qe *queue.Error
			if s.Elsewhere { // whoever serves the queues knows the reason
				if len(reports) != 1 {
					g.Errorf("%s: reports %v, want one", b.Name, reports)
				}
			} else if len(reports) != 1 || !errors.As(reports[0], &qe) || qe.Queue != 0 || !strings.Contains(qe.Error(), b.Reason) {
				g.Errorf("%s: reports %v, want one queue.Error of queue 0 with %q", b.Name, reports, b.Reason)
			}
			// It asked once, and leaves all rings alone from here on. (Where kicks
			// are handled at once, it would answer before Notify returns.)
			last := len(g.Rings) - 1
			r := g.Rings[last]
			used := r.UsedIdx()
			if last > 0 {
				r.Offer(g.In(make([]byte, 16)), g.Out(17))
			}
			g.Notify(last)
			g.DriverOK()
			if got := r.UsedIdx(); got != used {
				g.Errorf("%s: used index of queue %d went from %d to %d", b.Name, last, used, got)
			}
		}
	}
	g.Start(^uint64(0), 16)
	s.Probe(g)
}
