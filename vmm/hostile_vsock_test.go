package vmm

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
	"tandem/virtio/vsock"
)

const (
	vsockReceive  = 0
	vsockTransmit = 1
	vsockEvent    = 2

	vsockCID    = 3
	vsockBuffer = 4096 // what the device promises to hold for a connection: the least that it can be told to
	vsockPort   = 52   // somebody listens there

	vsockHeader = 44
	vsockOpAt   = 30 // in the header
)

// Operations. virtio 1.2, section 5.10.6.
const (
	vsockRequest = 1 + iota
	vsockResponse
	vsockReset
	vsockShutdown
	vsockData
	vsockUpdate
	vsockCredit
)

// vsockPacket is a packet of the guest's: struct virtio_vsock_hdr, and bytes.
type vsockPacket struct {
	source, target     uint64 // CIDs; 0 for the right ones
	from, to           uint32 // ports
	length             uint32 // what the header says
	kind               uint16 // 0 for a stream
	op                 uint16
	flags, room, taken uint32
	bytes              int // what is there
}

func (v vsockPacket) encode() []byte {
	le := binary.LittleEndian
	choose := func(x, usual uint64) uint64 {
		if x == 0 {
			return usual
		}
		return x
	}
	b := le.AppendUint64(nil, choose(v.source, vsockCID))
	b = le.AppendUint64(b, choose(v.target, vsock.HostCID))
	for _, x := range []uint32{v.from, v.to, v.length} {
		b = le.AppendUint32(b, x)
	}
	b = le.AppendUint16(b, uint16(choose(uint64(v.kind), 1)))
	b = le.AppendUint16(b, v.op)
	for _, x := range []uint32{v.flags, v.room, v.taken} {
		b = le.AppendUint32(b, x)
	}
	return append(b, make([]byte, v.bytes)...)
}

// vsockGame is a machine with a socket device that is lied to.
type vsockGame struct {
	*game
	device *vsock.Device

	receive, transmit *virtiotest.Ring
	rooms             []uint64 // of the receive ring, in order
	answers           uint16
}

func newVsockGame(t *testing.T, transport Transport, direct bool) *vsockGame {
	t.Helper()
	g := &vsockGame{}
	path := filepath.Join(t.TempDir(), "v.sock")
	g.game = newGame(t, Device{
		Name: "vsock0", Type: virtio.TypeVsock, Transport: transport, Direct: direct,
		Open: func() (_ virtio.Device, err error) {
			g.device, err = vsock.New(vsock.Spec{CID: vsockCID, Path: path, Buffer: vsockBuffer})
			return g.device, err
		},
	})
	l, err := g.device.Listen(vsockPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return g
}

const vsockRooms = 16

// start takes the device up to DRIVER_OK, with room for answers.
func (g *vsockGame) start() {
	g.negotiate(g.victim, 1<<vsock.FeatureStream)
	g.receive = g.ring(g.victim, vsockReceive, vsockRooms)
	g.transmit = g.ring(g.victim, vsockTransmit, 16)
	g.ring(g.victim, vsockEvent, 16)
	g.rooms, g.answers = nil, 0
	for range vsockRooms {
		room := g.Out(vsockHeader + 64)
		g.rooms = append(g.rooms, room.GPA)
		g.receive.Offer(room)
	}
	g.victim.status(g.player, statusDriverOK)
	g.victim.notify(g.player, vsockReceive, 1)
}

// sends sends a packet, and waits until it was taken.
func (g *vsockGame) sends(v vsockPacket) { g.sendsBytes(v.encode()) }

func (g *vsockGame) sendsBytes(b []byte) {
	g.transmit.Put(g.In(b))
	g.write32(uint32(g.transmit.Avail), uint32(g.transmit.AvailIdx())<<16)
	g.victim.notify(g.player, vsockTransmit, 1)
	g.untilUsed(g.transmit, g.transmit.AvailIdx())
}

// gets waits for the next packet, and holds that it is of that kind and for that port.
func (g *vsockGame) gets(op uint16, port uint32) {
	room := uint32(g.rooms[g.answers])
	g.answers++
	g.untilUsed(g.receive, g.answers)
	g.wants(fmt.Sprintf("answer %d, the operation", g.answers), opRead16, room+vsockOpAt, 0xFFFF, uint32(op))
	g.wants(fmt.Sprintf("answer %d, the port", g.answers), opRead32, room+20, ^uint32(0), port)
}

// connects makes a connection to the listener.
func (g *vsockGame) connects(from, room uint32) {
	g.sends(vsockPacket{op: vsockRequest, from: from, to: vsockPort, room: room})
	g.gets(vsockResponse, from)
}

// attack does harm to a device that was just started. After it, the witness answers, and a connection can still be made, by
// which all that was sent before has been taken in.
func (g *vsockGame) attack(name string, do func()) {
	g.title = name
	g.start()
	do()
	g.witness.works(g.player)
	g.connects(9999, 1<<16)
}

// TestHostileVsockDriver has a guest lie about addresses, lengths and credit. A lie ends the connection that it is told in, and
// nothing else.
func TestHostileVsockDriver(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NotLab)
	for _, transport := range []Transport{PCI, MMIO} {
		for path, direct := range map[string]bool{"eventfd": false, "exit": true} {
			t.Run(fmt.Sprintf("%s-%s", transport, path), func(t *testing.T) {
				g := newVsockGame(t, transport, direct)
				g.lieToNobody()
				g.lieInConnections()
				g.finish()
				s := g.device.Stats()
				for _, why := range []vsock.Drop{vsock.DropShort, vsock.DropSource, vsock.DropState, vsock.DropLength, vsock.DropCredit} {
					if s.Drops[why] == 0 {
						t.Errorf("nothing was dropped for the reason %v: %v", why, s.Drops)
					}
				}
			})
		}
	}
}

// lieToNobody sends packets that belong to no connection.
func (g *vsockGame) lieToNobody() {
	g.attack("half a header", func() {
		g.sendsBytes(make([]byte, vsockHeader-1))
		g.sendsBytes([]byte{1})
	})
	g.attack("nothing to read", func() {
		g.transmit.Put(g.Out(100))
		g.write32(uint32(g.transmit.Avail), uint32(g.transmit.AvailIdx())<<16)
		g.victim.notify(g.player, vsockTransmit, 1)
		g.untilUsed(g.transmit, g.transmit.AvailIdx())
	})
	g.attack("another's name", func() {
		for _, source := range []uint64{1, 2, 4, 1 << 32, ^uint64(0)} {
			g.sends(vsockPacket{source: source, op: vsockRequest, from: 7, to: vsockPort})
		}
	})
	g.attack("nobody's address", func() {
		for i, target := range []uint64{1, 3, 1 << 40, ^uint64(0)} {
			g.sends(vsockPacket{target: target, op: vsockRequest, from: uint32(i), to: vsockPort})
			g.gets(vsockReset, uint32(i))
		}
	})
	g.attack("a socket of another type", func() {
		g.sends(vsockPacket{kind: 2, op: vsockRequest, from: 7, to: vsockPort})
		g.gets(vsockReset, 7)
	})
	g.attack("ports where nobody listens", func() {
		for i, port := range []uint32{0, 53, 1 << 31, ^uint32(0)} {
			g.sends(vsockPacket{op: vsockRequest, from: uint32(i), to: port})
			g.gets(vsockReset, uint32(i))
		}
	})
	g.attack("packets of no connection", func() {
		for _, op := range []uint16{0, vsockResponse, vsockShutdown, vsockData, vsockUpdate, vsockCredit, 8, 0xFFFF} {
			g.sends(vsockPacket{op: op, from: uint32(op), to: vsockPort})
			g.gets(vsockReset, uint32(op))
		}
	})
	g.attack("a RST of no connection", func() { g.sends(vsockPacket{op: vsockReset, from: 7, to: vsockPort}) })
}

// lieInConnections says what cannot be in a connection: it ends.
func (g *vsockGame) lieInConnections() {
	for _, c := range []struct {
		name string
		vsockPacket
	}{
		{"a second request", vsockPacket{op: vsockRequest}},
		{"an answer to nothing", vsockPacket{op: vsockResponse}},
		{"an operation that there is not", vsockPacket{op: 99}},
		{"more bytes than there are", vsockPacket{op: vsockData, length: 100, bytes: 10}},
		{"4 GiB", vsockPacket{op: vsockData, length: ^uint32(0), bytes: 10}},
		{"more than was promised to be held", vsockPacket{op: vsockData, length: 2 * vsockBuffer, bytes: 2 * vsockBuffer}},
		{"to have taken what was never sent", vsockPacket{op: vsockUpdate, room: 1 << 16, taken: 1000}},
		{"to have taken all there can be", vsockPacket{op: vsockUpdate, room: ^uint32(0), taken: 1<<31 - 1}},
	} {
		g.attack(c.name, func() {
			g.connects(7, 1<<16)
			c.from, c.to = 7, vsockPort
			g.sends(c.vsockPacket)
			g.gets(vsockReset, 7)
		})
	}
	g.attack("to have taken less than before", func() { // as if packets had been queued the other way round
		g.connects(7, 1<<16)
		g.sends(vsockPacket{op: vsockCredit, from: 7, to: vsockPort, room: ^uint32(0), taken: ^uint32(0)})
		g.gets(vsockUpdate, 7)
	})
	g.attack("no room at all", func() {
		g.connects(7, 0)
		g.sends(vsockPacket{op: vsockData, from: 7, to: vsockPort, length: 5, bytes: 5})
	})
	g.attack("bytes after the end", func() {
		g.connects(7, 1<<16)
		const send = 2 // VIRTIO_VSOCK_SHUTDOWN_F_SEND
		g.sends(vsockPacket{op: vsockShutdown, flags: send, from: 7, to: vsockPort, room: 1 << 16})
		g.sends(vsockPacket{op: vsockData, from: 7, to: vsockPort, length: 5, bytes: 5, room: 1 << 16})
		g.gets(vsockReset, 7)
	})
}
