package vmm

import (
	"encoding/binary"
	"testing"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/balloon"
	"tandem/virtio/console"
	"tandem/virtio/virtiotest"
	"tandem/vmm/layout"
)

// begin starts the victim with good rings.
func (g *game) begin(title string, features uint64, queues int) (rings []*virtiotest.Ring) {
	g.title = title
	g.negotiate(g.victim, features)
	for i := range queues {
		rings = append(rings, g.ring(g.victim, i, goodSize))
	}
	g.victim.status(g.player, statusDriverOK)
	return rings
}

// offer makes a chain available in the guest's time, and kicks.
func (g *game) offer(r *virtiotest.Ring, queue int, pieces ...virtiotest.Piece) {
	r.Put(pieces...)
	g.write32(uint32(r.Avail), uint32(r.AvailIdx())<<16)
	g.victim.notify(g.player, queue, 1)
}

// do is offer, and the wait until the chain comes back.
func (g *game) do(r *virtiotest.Ring, queue int, pieces ...virtiotest.Piece) {
	g.offer(r, queue, pieces...)
	g.untilUsed(r, r.AvailIdx())
}

// TestHostileBalloonDriver has a guest give away what it does not have, and what it needs.
func TestHostileBalloonDriver(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NotLab)
	const inflate, deflate = 0, 1
	pages := func(numbers ...uint32) (b []byte) {
		for _, n := range numbers {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return b
	}
	for _, transport := range []Transport{PCI, MMIO} {
		t.Run(string(transport), func(t *testing.T) {
			var device *balloon.Device
			g := newGame(t, Device{
				Name: "balloon0", Type: virtio.TypeBalloon, Transport: transport,
				Open: func() (_ virtio.Device, err error) {
					device, err = balloon.New(balloon.Spec{})
					return device, err
				},
			})
			outside := pages(playerRAM>>12, layout.PCIWindow>>12, layout.LAPIC>>12, 1<<31, ^uint32(0))
			r := g.begin("pages that are not memory", 0, 2)
			g.do(r[inflate], inflate, g.In(outside))
			g.do(r[deflate], deflate, g.In(outside))
			g.witness.works(g.player)

			r = g.begin("one page a thousand times", 0, 2)
			own := g.Alloc(4096, 4096)
			var many []uint32
			for range 1000 {
				many = append(many, uint32(own>>12))
			}
			g.do(r[inflate], inflate, g.In(pages(many...)))
			g.wants("the page", opRead32, uint32(own), ^uint32(0), 0)
			g.do(r[deflate], deflate, g.In(pages(many...)))
			g.Bytes(own, 1)[0] = 1

			g.Alloc(0, 4096) // the rings have a page for themselves
			r = g.begin("the rings themselves", 0, 2)
			g.Alloc(0, 4096)
			g.offer(r[inflate], inflate, g.In(pages(uint32(r[inflate].Desc>>12))))
			g.needsReset("available index jumped by 65535")
			g.witness.works(g.player)

			r = g.begin("a list cut short", 0, 2)
			g.offer(r[inflate], inflate, g.In(make([]byte, 7)))
			g.needsReset("ends in the middle of one")
			g.witness.works(g.player)

			r = g.begin("a list without end", 0, 2)
			g.offer(r[deflate], deflate, virtiotest.Piece{GPA: 0, Len: playerRAM})
			g.needsReset("more page numbers than a balloon takes at once")
			g.witness.works(g.player)

			g.finish()
			const refused, lists = 5, 2
			c := device.Counters()
			if c.Refused != lists*refused || c.Failed != 0 || c.Inflated != 2*4096 || c.Deflated != 4096 {
				t.Errorf("counters %+v: want %d refused, 2 pages inflated, 1 deflated", c, lists*refused)
			}
		})
	}
}

// TestHostileConsoleDriver has a guest say what makes no sense on the control queue: it is counted, and the ports work.
func TestHostileConsoleDriver(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NotLab)
	const controlReceive, controlTransmit, queues = 2, 3, 6
	message := func(id uint32, event, value uint16) []byte {
		b := binary.LittleEndian.AppendUint32(nil, id)
		b = binary.LittleEndian.AppendUint16(b, event)
		return binary.LittleEndian.AppendUint16(b, value)
	}
	const ready = 0 // VIRTIO_CONSOLE_DEVICE_READY
	for _, transport := range []Transport{PCI, MMIO} {
		t.Run(string(transport), func(t *testing.T) {
			var device *console.Device
			g := newGame(t, Device{
				Name: "console0", Type: virtio.TypeConsole, Transport: transport,
				Open: func() (_ virtio.Device, err error) {
					device, err = console.New(console.Spec{Ports: []console.PortSpec{{Name: "a"}, {Name: "b"}}})
					return device, err
				},
			})
			r := g.begin("control messages", 1<<console.FeatureMultiport, queues)
			nonsense := [][]byte{
				{1}, make([]byte, 7), // cut short
				message(2, 3, 1), message(^uint32(0), 3, 1), message(1<<31, 6, 1), // ports that there are not
				message(0, 1, 1), message(0, 2, 1), message(0, 4, 1), message(0, 99, 1), message(0, 0xFFFF, 1), // the device's to say, nobody's
			}
			for _, m := range nonsense {
				g.do(r[controlTransmit], controlTransmit, g.In(m))
			}
			g.do(r[controlTransmit], controlTransmit, g.Out(100)) // nothing to read
			g.witness.works(g.player)

			g.do(r[controlTransmit], controlTransmit, g.In(message(0, ready, 1)))
			room := g.Out(100)
			g.do(r[controlReceive], controlReceive, room)
			g.wants("the first message, PORT_ADD", opRead32, uint32(room.GPA)+4, 0xFFFF, 1)

			r = g.begin("no room for a control message", 1<<console.FeatureMultiport, queues)
			g.do(r[controlTransmit], controlTransmit, g.In(message(0, ready, 1)))
			g.offer(r[controlReceive], controlReceive, g.Out(3))
			g.needsReset("too short for a control message")
			g.witness.works(g.player)

			g.finish()
			if got, want := device.Ignored(), uint64(len(nonsense)+1); got != want {
				t.Errorf("%d messages were ignored, want %d", got, want)
			}
		})
	}
}
