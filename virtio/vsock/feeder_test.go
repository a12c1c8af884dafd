package vsock

import (
	"testing"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// packetFeeder is a device without a transport, whose transmit queue is fed packets as they are.
type packetFeeder struct {
	testing.TB
	dev    *Device
	rx, tx *virtiotest.Ring
	mem    *memory.Space
	posts  map[uint32]virtiotest.Piece
	failed chan error
}

const (
	feederPacket  = 0x100000
	feederBuffers = 0x200000
	feederRings   = 0x1000
)

type silent struct{}

func (silent) Signal()            {}
func (silent) Event() *eventfd.FD { return nil }

func newPacketFeeder(t testing.TB, dev *Device, mem *memory.Space) *packetFeeder {
	t.Helper()
	x := &packetFeeder{TB: t, dev: dev, mem: mem, posts: make(map[uint32]virtiotest.Piece), failed: make(chan error, 1)}
	at := uint64(feederRings)
	alloc := func(n, align uint64) uint64 {
		at = (at + align - 1) &^ (align - 1)
		gpa := at
		b, err := mem.Slice(gpa, n)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		at += n
		return gpa
	}
	a := &virtio.Activation{
		Memory: mem, Features: dev.Features(), Queues: make([]virtio.Queue, queues),
		UpdateConfig: func(change func()) { change() },
		Fail: func(err error) {
			select {
			case x.failed <- err:
			default:
			}
		},
	}
	for i := range 2 {
		r := virtiotest.NewRing(mem, 16, alloc)
		q, err := queue.New(mem, queue.Config{Index: i, Size: 16, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Interrupt: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		kick, err := eventfd.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { kick.Close() })
		a.Queues[i] = virtio.Queue{Queue: q, Kick: kick}
		if i == receiveQueue {
			x.rx = r
		} else {
			x.tx = r
		}
	}
	for i := range uint64(8) {
		p := virtiotest.Piece{GPA: feederBuffers + i*4096, Len: 300, Write: true}
		x.posts[uint32(x.rx.Offer(p))] = p
	}
	if err := dev.Activate(a); err != nil {
		t.Fatal(err)
	}
	return x
}

// feed sends a packet, in the test's own thread, and takes what comes back.
func (x *packetFeeder) feed(b []byte) {
	if len(b) == 0 {
		return
	}
	mem, err := x.mem.Slice(feederPacket, uint64(len(b)))
	if err != nil {
		x.Fatal(err)
	}
	copy(mem, b)
	x.tx.Offer(virtiotest.Piece{GPA: feederPacket, Len: uint32(len(b))})
	x.dev.Notify(transmitQueue)
	waitFor(x.TB, "a packet to be taken in", func() bool {
		x.take()
		_, ok := x.tx.Take()
		return ok
	})
}

func (x *packetFeeder) take() {
	for {
		u, ok := x.rx.Take()
		if !ok {
			return
		}
		p := x.posts[u.Head]
		delete(x.posts, u.Head)
		b, err := x.mem.Slice(p.GPA, uint64(u.Len))
		if err != nil {
			x.Fatal(err)
		}
		var h header
		h.decode((*[headerSize]byte)(b))
		if u.Len != headerSize+h.len || h.dstCID != guestCID || h.op < opRequest || h.op > opCreditRequest {
			x.Errorf("packet %+v in %d bytes", h, u.Len)
		}
		x.posts[uint32(x.rx.Offer(p))] = p
		x.dev.Notify(receiveQueue)
	}
}

// check looks at the switchboard's books.
func (x *packetFeeder) check() {
	x.Helper()
	select {
	case err := <-x.failed:
		x.Fatalf("the device has failed: %v", err)
	default:
	}
	s := x.dev.board
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for i := range s.slots {
		c := s.slots[i].conn
		if c == nil {
			continue
		}
		open++
		switch inTable := s.table[c.tuple] == c; {
		case c.slot != i:
			x.Errorf("connection %+v of slot %d is in slot %d", c.tuple, c.slot, i)
		case inTable != (c.state != stateEnded && c.state != stateHello):
			x.Errorf("connection %+v of state %d: in the table %v", c.tuple, c.state, inTable)
		case c.ring.held > int(s.bufAlloc), c.received-c.taken != uint32(c.ring.held) && c.state != stateEnded:
			x.Errorf("connection %+v: received %d, taken %d, held %d", c.tuple, c.received, c.taken, c.ring.held)
		case c.sent-c.peerTaken > 1<<31:
			x.Errorf("connection %+v: sent %d, taken by the guest %d", c.tuple, c.sent, c.peerTaken)
		case (c.fd < 0) != (c.state == stateClosing || c.state == stateEnded && c.ring.held == 0):
			x.Errorf("connection %+v of state %d: descriptor %d, %d bytes held", c.tuple, c.state, c.fd, c.ring.held)
		case c.hooks[onControl].in != (c.send != 0):
			x.Errorf("connection %+v: to send %#x, in the list %v", c.tuple, c.send, c.hooks[onControl].in)
		case c.hooks[onReady].in && c.state != stateOpen:
			x.Errorf("connection %+v of state %d is to send data", c.tuple, c.state)
		}
	}
	if open > s.maxConnections || open != len(s.slots)-len(s.free) || len(s.table) > open {
		x.Errorf("%d connections of %d, %d in the table", open, s.maxConnections, len(s.table))
	}
}
