package vmm

import (
	"fmt"
	"slices"

	"tandem/virtio"
	"tandem/virtio/net"
	"tandem/virtio/virtiotest"
	"tandem/vmm/layout"
)

// breakRings breaks each queue in every way that package queue has to notice.
func breakRings(g *netGame) {
	for _, features := range []uint64{0, virtio.RingFeatures} {
		for i, name := range []string{"receive", "transmit", "control"} {
			for _, b := range virtiotest.Breakages() {
				if b.Needs&^features != 0 {
					continue
				}
				g.attack(fmt.Sprintf("%s queue, features %#x: %s", name, features, b.Name), func(g *netGame) {
					g.breakRing(3, i, features|1<<net.FeatureCtrlVQ, b)
				})
			}
		}
	}
}

// badQueues gives queues of sizes and at places where none can be.
func badQueues(g *netGame) {
	for _, q := range badQueueList {
		for i := range 3 {
			g.attack(fmt.Sprintf("queue %d: %s", i, q.name), func(g *netGame) { g.misplace(i, 1<<net.FeatureCtrlVQ, q) })
		}
	}
}

// noRoom posts buffers that the card can do nothing with.
func noRoom(g *netGame) {
	post := func(queue int, reason string, pieces func(g *netGame) []virtiotest.Piece) func(*netGame) {
		return func(g *netGame) {
			g.negotiate(g.victim, 1<<net.FeatureCtrlVQ|1<<virtio.FeatureIndirectDesc)
			for i := range 3 {
				if r := g.ring(g.victim, i, 16); i == queue {
					list := pieces(g)
					r.OfferIndirect(g.Alloc(16*uint64(len(list)), 16), list...)
				}
			}
			g.victim.status(g.player, statusDriverOK)
			g.victim.notify(g.player, queue, 1)
			g.breaks(queue, reason)
		}
	}
	g.attack("receive buffer smaller than a header", post(netReceive, "without room for a header", func(g *netGame) []virtiotest.Piece {
		return []virtiotest.Piece{g.Out(net.HeaderSize - 1)}
	}))
	g.attack("receive buffer to be read", post(netReceive, "without room for a header", func(g *netGame) []virtiotest.Piece {
		return []virtiotest.Piece{g.In(make([]byte, 2000))}
	}))
	g.attack("receive buffer in 1100 pieces", post(netReceive, "more pieces than a chain may have", func(g *netGame) []virtiotest.Piece {
		return scattered(g.Out(4096), 1100)
	}))
	g.attack("command without room for the answer", post(netControl, "without room for the answer", func(g *netGame) []virtiotest.Piece {
		return []virtiotest.Piece{g.In([]byte{0, 0, 1})}
	}))
}

// scattered cuts a piece into n, the first n-1 of them of a byte each.
func scattered(p virtiotest.Piece, n int) []virtiotest.Piece {
	var list []virtiotest.Piece
	for i := range n - 1 {
		list = append(list, virtiotest.Piece{GPA: p.GPA + uint64(i), Len: 1, Write: p.Write})
	}
	return append(list, virtiotest.Piece{GPA: p.GPA + uint64(n) - 1, Len: p.Len - uint32(n) + 1, Write: p.Write})
}

// badFrames sends what is no frame: each is dropped and counted, and the next goes.
func badFrames(g *netGame) {
	for _, c := range []struct {
		name string
		why  net.Drop
		make func(g *netGame) []virtiotest.Piece
	}{
		{"a byte", net.DropShort, func(g *netGame) []virtiotest.Piece { return []virtiotest.Piece{g.In([]byte{1})} }},
		{"a header alone", net.DropShort, func(g *netGame) []virtiotest.Piece { return []virtiotest.Piece{g.In(make([]byte, net.HeaderSize))} }},
		{"half an Ethernet header", net.DropShort, func(g *netGame) []virtiotest.Piece { return []virtiotest.Piece{g.In(make([]byte, net.HeaderSize+7))} }},
		{"a buffer to write", net.DropShort, func(g *netGame) []virtiotest.Piece { return []virtiotest.Piece{g.Out(1000)} }},
		{"more than 64 KiB", net.DropLong, func(g *netGame) []virtiotest.Piece { return []virtiotest.Piece{g.In(make([]byte, 70000))} }},
		{"all of memory", net.DropLong, func(g *netGame) []virtiotest.Piece {
			return slices.Repeat([]virtiotest.Piece{{GPA: 0, Len: playerRAM}}, 10)
		}},
	} {
		g.attack(c.name, func(g *netGame) { g.drop(c.why, c.make(g)...) })
	}
	g.attack("1100 pieces", func(g *netGame) {
		r := g.start(1 << virtio.FeatureIndirectDesc)[netTransmit]
		list := scattered(g.In(make([]byte, 4000)), 1100)
		r.OfferIndirect(g.Alloc(16*uint64(len(list)), 16), list...)
		g.victim.notify(g.player, netTransmit, 1)
		g.breaks(netTransmit, "more pieces than a chain may have")
	})
}

// badHeaders sends headers whose offsets lie outside of their frames, and kinds that there are not.
func badHeaders(g *netGame) {
	for _, c := range []struct {
		name string
		header
	}{
		{"checksum far behind the end", header{flags: 1, csumStart: 0xFFFF, csumOffset: 0xFFFF}},
		{"checksum at the end", header{flags: 1, csumStart: 60, csumOffset: 0}},
		{"checksum's place wraps", header{flags: 1, csumStart: 14, csumOffset: 0xFFFA}},
		{"headers longer than the frame", header{hdrLen: 0xFFFF}},
		{"segments of no size", header{gsoType: 1, hdrLen: 54}},
		{"segments of a kind that is none", header{gsoType: 0x77, gsoSize: 100, hdrLen: 54}},
	} {
		g.attack(c.name, func(g *netGame) { g.drop(net.DropMalformed, g.In(c.frame(c.name))) })
	}
}

// badCommands sends commands that are cut short, too long, or were not agreed on.
func badCommands(g *netGame) {
	const ok, refused = 0, 1
	commands := [][]byte{
		{},
		{0},
		{1},
		{0xFF},
		{0xFF, 0xFF}, // no class, no command, unknown ones
		{0, 0},
		{0, 0, 2},
		{0, 0, 1, 1},
		{0, 99, 1},
		{0, 5, 1}, // modes; RX_EXTRA was not agreed on
		{1, 1},
		{1, 1, 2, 0, 0, 0, 0},
		{1, 1, 3, 0, 0, 0, 0, 1},
		{1, 1, 0, 0, 0, 0, 0, 0}, // an address of five bytes, a group's, nobody's
		{1, 0},
		{1, 0, 1, 0, 0},
		{1, 0, 0xFF, 0xFF, 0xFF, 0xFF}, // lists
		{1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1},
		{1, 0, 0, 0, 0, 0, 1, 0, 0, 0},
		{2, 0},
		{2, 0, 1},
		{2, 0, 0, 0x10},
		{2, 2, 1, 0}, // VLAN 4096, an unknown command
		{3, 0},
		{4, 0},
		{4, 0, 1},
		{4, 0, 1, 0},
		{4, 0, 0, 0x80}, // announcement and pairs were not agreed on
		{5, 0},
		{5, 0, 1, 2, 3, 4, 5, 6, 7},
		{5, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, // offloads
		make([]byte, 65537), // longer than any command
	}
	for chunk := range slices.Chunk(commands, 7) {
		g.attack(fmt.Sprintf("commands from %.8x on", chunk[0]), func(g *netGame) {
			rings := g.start(1<<net.FeatureCtrlRX | 1<<net.FeatureCtrlMACAddr | 1<<net.FeatureCtrlVLAN | 1<<net.FeatureCtrlGuestOffloads)
			for _, c := range chunk {
				g.command(rings[netControl], refused, c...)
			}
			g.command(rings[netControl], ok, 0, 0, 1) // promiscuous
		})
	}
}

// moveQueues writes to the registers of queues that run: nothing moves.
func moveQueues(g *netGame) {
	g.attack("moved", func(g *netGame) {
		rings := g.start(0)
		for i := range rings {
			var later []func()
			if d, ok := g.victim.(*pciPlug); ok { // the other transport's cannot be read
				g.write16(d.common+22, uint16(i))
				for off := uint32(24); off < 56; off += 4 {
					later = append(later, g.same(fmt.Sprintf("queue %d, register %d", i, off), opRead32, d.common+off))
				}
			}
			g.victim.queue(g.player, i, 2, playerRAM, ^uint64(0), layout.LAPIC)
			g.victim.enable(g.player, i)
			for _, f := range later {
				f()
			}
		}
		g.victim.features(g.player, ^uint64(0))
		good := header{}.frame("where it was")
		g.expect(good)
		g.send(rings[netTransmit], []virtiotest.Piece{g.In(good)})
		g.victim.untilStatus(g.player, 0xFF, statusDriverOK)
	})
	g.attack("moved while frames are on their way", func(g *netGame) {
		rings := g.start(0)
		r := rings[netTransmit]
		for i := range 16 {
			good := header{}.frame(fmt.Sprintf("frame %d", i))
			g.expect(good)
			r.Offer(g.In(good))
		}
		g.victim.notify(g.player, netTransmit, 1)
		for range 20 {
			g.victim.queue(g.player, netTransmit, 1024, 0, 0, 0)
		}
		g.untilUsed(r, 16)
	})
}

// badFeatures does not keep to what was offered, nor to the order of things.
func badFeatures(g *netGame) {
	for _, f := range []uint64{1 << 49, 1 << virtio.FeatureRingPacked, 1 << virtio.FeatureAccessPlatform, ^uint64(0), 1 << 62} {
		g.attack(fmt.Sprintf("features %#x", f), func(g *netGame) {
			g.reset(g.victim)
			g.victim.status(g.player, statusFound)
			g.victim.features(g.player, f|1<<virtio.FeatureVersion1)
			g.victim.status(g.player, statusAgreed)
			g.victim.untilStatus(g.player, 0xFF, statusFound)
			g.victim.status(g.player, statusFound|virtio.StatusDriverOK) // all the same
			g.needsReset("DRIVER_OK before FEATURES_OK")
		})
	}
	g.attack("a legacy driver", func(g *netGame) {
		g.reset(g.victim)
		g.victim.status(g.player, statusFound)
		g.victim.features(g.player, 0)
		g.victim.status(g.player, statusAgreed)
		g.victim.untilStatus(g.player, 0xFF, statusFound)
	})
	g.attack("a status of all ones", func(g *netGame) {
		g.reset(g.victim)
		g.victim.status(g.player, 0xFF)
		g.needsReset("DRIVER_OK before FEATURES_OK")
		g.victim.status(g.player, 0xFF)
		g.victim.status(g.player, statusDriverOK)
	})
	g.attack("bits of the status that cannot be cleared", func(g *netGame) {
		g.start(0)
		for _, v := range []uint8{1, 2, 0x40, 0x30} {
			g.victim.status(g.player, v)
		}
		g.victim.untilStatus(g.player, 0xFF, statusDriverOK)
	})
}

// kickStorms kicks without end, before the card runs and while it does, queues that there are and others.
func kickStorms(g *netGame) {
	const many = 2000
	storm := func(g *netGame) {
		for _, queue := range []int{netReceive, netTransmit, netControl, 3, 1000} {
			g.victim.notify(g.player, queue, many)
		}
	}
	g.attack("before anything", func(g *netGame) { g.reset(g.victim); storm(g) })
	g.attack("before DRIVER_OK", func(g *netGame) { g.negotiate(g.victim, 0); storm(g) })
	g.attack("with nothing to do", func(g *netGame) { g.start(0); storm(g) })
	g.attack("with a frame", func(g *netGame) {
		r := g.start(0)[netTransmit]
		good := header{}.frame("in a storm")
		g.expect(good)
		r.Offer(g.In(good))
		storm(g)
		g.untilUsed(r, 1)
	})
	g.attack("a broken card", func(g *netGame) {
		r := g.start(0)[netTransmit]
		r.SetAvail(0xFFFF)
		g.victim.notify(g.player, netTransmit, 1)
		g.breaks(netTransmit, "head is beyond")
		storm(g)
	})
}

// resetInFlight resets the card as soon as it has begun. Nothing is touched after that.
func resetInFlight(g *netGame) {
	for round := range 20 {
		g.attack(fmt.Sprintf("round %d", round), func(g *netGame) {
			rings := g.start(0)
			for i, r := range rings {
				for range 8 {
					switch i {
					case netReceive:
						r.Offer(g.Out(1600))
					case netTransmit: // never a frame: whether it went, nobody could tell
						r.Offer(g.Out(100))
					case netControl:
						r.Offer(g.In([]byte{9, 9}), g.Out(1))
					}
				}
				g.victim.notify(g.player, i, 1)
			}
			g.reset(g.victim)
			title := g.title
			at := g.add(opRead32, uint32(rings[netTransmit].Used), 0, 0)
			for i := range rings {
				g.victim.notify(g.player, i, 10)
			}
			later := g.same("used index of the transmit queue", opRead32, uint32(rings[netTransmit].Used))
			g.witness.works(g.player)
			later()
			g.check(func() {
				used := g.steps[at].value >> 16
				if used > 8 {
					g.Errorf("%s: used index %d of 8 chains", title, used)
				}
				if used > 0 { // the card may not have come to any
					g.drops[net.DropShort] += uint64(used)
				}
			})
		})
	}
}

// writeReadOnly writes all ones over registers that cannot be written.
func writeReadOnly(g *netGame) {
	g.attack("configuration", func(g *netGame) {
		g.start(0)
		for at := uint32(0); at < 24; at += 4 { // MAC, status, pairs, MTU, speed
			later := g.same(fmt.Sprintf("configuration %d", at), opRead32, g.victim.config()+at)
			g.write32(g.victim.config()+at, ^uint32(0))
			later()
		}
		g.write32(g.victim.config()+0xE00, ^uint32(0)) // behind its end
	})
	g.attack("transport", func(g *netGame) {
		g.start(0)
		switch d := g.victim.(type) {
		case mmioPlug:
			// Magic, version, type, vendor, offered features, largest size, interrupt, generation, shared memory.
			for _, off := range []uint32{0, 4, 8, 0xC, 0x10, 0x34, 0x60, 0xFC, 0xB0, 0xB8} {
				later := g.same(fmt.Sprintf("register %#x", off), opRead32, d.base+off)
				g.write32(d.base+off, ^uint32(0))
				g.write16(d.base+off, 0xFFFF)
				g.write8(d.base+off, 0xFF)
				later()
			}
		case *pciPlug:
			// Identity, status, class, header type, subsystem, capabilities.
			for _, off := range []uint32{0, 8, 0x2C, 0x34, 0x50, 0x58, 0x60, 0x70, 0x74, 0x84, 0x100, 0xFFC} {
				later := g.same(fmt.Sprintf("configuration space %#x", off), opRead32, d.header+off)
				g.write32(d.header+off, ^uint32(0))
				later()
			}
			for _, off := range []uint32{4, 18} { // offered features, number of queues and status
				op := uint32(opRead32)
				if off == 18 {
					op = opRead16
				}
				later := g.same(fmt.Sprintf("common configuration %#x", off), op, d.common+off)
				g.write16(d.common+off, 0xFFFF)
				later()
			}
		}
	})
	if d, ok := g.victim.(*pciPlug); ok {
		g.movedBARs(d)
	}
}

// movedBARs puts the card's registers where others are. It loses them, and nobody else.
func (g *netGame) movedBARs(d *pciPlug) {
	for to, refused := range map[uint32]bool{
		0: false, 0xFFFFFFFF: false, // what a driver writes to find out the size
		0x100000: true, layout.VirtioMMIO: true, layout.ECAM: true, layout.IOAPIC: true, layout.LAPIC: true,
	} {
		g.attack(fmt.Sprintf("BAR at %#x", to), func(g *netGame) {
			g.write32(d.header+0x10, to)
			if refused {
				g.says("pci: map BAR 0 at", fmt.Sprintf("at %#x: ", to))
			}
			g.witness.works(g.player)
			g.wants("the BAR", opRead32, d.header+0x10, 0xFFF, 0)
			g.write32(d.header+0x10, d.bar)
			g.wants("the BAR", opRead32, d.header+0x10, ^uint32(0), d.bar)
		})
	}
	g.attack("vectors that there are not", func(g *netGame) {
		g.start(0)
		g.write16(d.common+16, 0x7777)
		g.wants("the configuration's vector", opRead16, d.common+16, 0xFFFF, 0xFFFF)
		g.write16(d.common+22, netTransmit)
		g.write16(d.common+26, 0x7777)
		g.wants("the queue's vector", opRead16, d.common+26, 0xFFFF, 0xFFFF)
	})
}
