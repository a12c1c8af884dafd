package vsock

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"tandem/virtio/virtiotest"
)

// TestCreditOfTheGuest: the device holds its buffer for a program that does not read, and not a byte more, and tells
// the guest when the program has read.
func TestCreditOfTheGuest(t *testing.T) {
	const buffer = 1 << 20
	dev := newDevice(t, Spec{Buffer: buffer})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	p := d.call(1, 9)
	end := acceptSocket(t, l)
	// Fill the socket, and then the buffer. What the guest is told of is what the socket took.
	var sent, taken uint32
	part := bytes.Repeat([]byte("0123456789abcdef"), 2048)
	for sent-taken < buffer {
		n := min(uint32(len(part)), buffer-(sent-taken))
		p.write(part[:n])
		sent += n
		if u, ok := d.Rings[receiveQueue].Take(); ok {
			var h header
			h.decode((*[headerSize]byte)(d.Bytes(d.posts[u.Head].GPA, headerSize)))
			if h.op != opCreditUpdate {
				t.Fatalf("packet %+v", h)
			}
			taken = h.fwdCnt
			d.post(1)
		}
	}
	// It knows of less than what was taken, unless it asks.
	p.send(opCreditRequest, 0)
	h, _ := d.expect(opCreditUpdate)
	for n := h.fwdCnt - taken; n > 0; {
		m := min(n, uint32(len(part)))
		p.write(part[:m])
		sent, n = sent+m, n-m
	}
	taken = h.fwdCnt
	if h.bufAlloc != buffer || sent-taken != buffer {
		t.Fatalf("buf_alloc %d, %d bytes on the way, want %d", h.bufAlloc, sent-taken, buffer)
	}
	d.quiet()
	// The program reads: the guest hears of it, and what it reads is whole.
	read := uint32(0)
	got := make([]byte, len(part))
	for read < sent {
		n, err := end.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range got[:n] {
			if want := part[(read+uint32(i))%16]; b != want {
				t.Fatalf("byte %d is %q, want %q", read+uint32(i), b, want)
			}
		}
		read += uint32(n)
	}
	for taken != sent {
		h, _ := d.expect(opCreditUpdate)
		taken = h.fwdCnt
		if sent-taken <= buffer/2 {
			p.send(opCreditRequest, 0) // the rest is too little to tell of
			h, _ = d.expect(opCreditUpdate)
			taken = h.fwdCnt
		}
	}
	// Now it is too much by a byte.
	end.Close()
	if n := dev.Stats().Drops[DropCredit]; n != 0 {
		t.Errorf("%d drops for credit", n)
	}
}

// TestCreditLie: with the program asleep, a byte more than the buffer ends the connection. What came before it arrives.
func TestCreditLie(t *testing.T) {
	const buffer = 64 << 10
	dev := newDevice(t, Spec{Buffer: buffer})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	p := d.call(1, 9)
	end := acceptSocket(t, l)
	// The guest looks at no credit update: after so many bytes it has none left, as it knows of what was taken.
	sent := 0
	for dev.Stats().Drops[DropCredit] == 0 {
		if sent > 1<<24 {
			t.Fatal("16 MiB went into a socket that nobody reads")
		}
		p.write(bytes.Repeat([]byte{'a'}, 1<<14))
		sent += 1 << 14
	}
	sent -= 1 << 14
	for {
		if h, _ := d.next(); h.op == opReset {
			break
		}
	}
	if got, err := io.ReadAll(end); err != nil || len(got) != sent {
		t.Errorf("%d bytes arrived, %v, want %d", len(got), err, sent)
	}
	waitFor(t, "the end of the connection", func() bool { return dev.Stats().Open == 0 })
}

// TestCreditOfTheHost: the device sends what the guest has room for, asks when there is none, and goes on when there is.
func TestCreditOfTheHost(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 16)
	c, p := dialGuest(d, 80)
	p.alloc = 1000
	p.send(opCreditUpdate, 0)
	want := bytes.Repeat([]byte("credit"), 1000)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(want) {
		had := len(got)
		got = append(got, p.read(int(min(p.alloc, uint32(len(want)-had))))...)
		if uint32(len(got)-had) > p.alloc {
			t.Fatalf("%d bytes came, %d were allowed", len(got)-had, p.alloc)
		}
		if len(got) < len(want) {
			h, _ := d.expect(opCreditRequest)
			p.is(h)
		}
		// The buffer shrinks, and grows.
		p.alloc = p.alloc/2 + 300
		p.send(opCreditUpdate, 0)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes are not those that were written")
	}
	// An older count comes late: no credit is taken back, and the connection lives.
	p.received -= 100
	p.send(opCreditUpdate, 0)
	p.received += 100
	fmt.Fprint(c, "on")
	if got := p.read(2); string(got) != "on" {
		t.Errorf("read %q", got)
	}
	// A buffer that is smaller than what is under way is no credit, not four billion.
	p.alloc = 0
	p.send(opCreditUpdate, 0)
	fmt.Fprint(c, "off")
	d.expect(opCreditRequest)
	d.quiet()
}

// TestTransmitWaits: RSTs that the guest gives no buffers for are bounded: its packets wait, and go on when it does.
func TestTransmitWaits(t *testing.T) {
	for _, kind := range virtiotest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			g := virtiotest.New(t, kind, dev, virtiotest.Options{})
			g.Start(^uint64(0), 256)
			d := adopt(g, 0)
			h := header{srcCID: guestCID, dstCID: HostCID, typ: typeStream, op: opData}
			const packets = 200
			ring := d.Rings[transmitQueue]
			for i := range uint32(packets) {
				h.srcPort = i
				ring.Offer(d.In(packet(h, nil)))
			}
			d.Kick(transmitQueue)
			room := len(dev.board.resets.list)
			waitFor(t, "what is answered", func() bool { return ring.UsedIdx() == uint16(room) })
			d.post(8)
			for i := range uint32(packets) {
				if a, _ := d.expect(opReset); a.dstPort != i {
					t.Fatalf("RST %d is for port %d", i, a.dstPort)
				}
			}
			waitFor(t, "the rest", func() bool { return ring.UsedIdx() == packets })
		})
	}
}

// TestNoBuffers: without buffers for it to send into, the device takes in what the guest sends all the same.
func TestNoBuffers(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	p := d.call(1, 9)
	end := acceptSocket(t, l)
	// Use the buffers up.
	if _, err := end.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	ring := d.Rings[receiveQueue]
	waitFor(t, "the last buffer", func() bool { return ring.UsedIdx() == 1+8 })
	for range 100 {
		p.write([]byte("through"))
		got := make([]byte, 7)
		if _, err := io.ReadFull(end, got); err != nil || string(got) != "through" {
			t.Fatalf("the program reads %q, %v", got, err)
		}
	}
	p.alloc = 200_000
	p.send(opCreditUpdate, 0)
	p.read(100_000)
}

// TestTurns: two connections that have much to send, to a guest that gives one buffer at a time, take turns.
func TestTurns(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 0)
	d.lazy, d.size = true, 4096
	l := listenSocket(t, dev, 9)
	var peers [2]*peer
	for i := range peers {
		peers[i] = d.call(uint32(i), 9)
		end := acceptSocket(t, l)
		if _, err := end.Write(make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	// Once both were heard of, they alternate.
	waitFor(t, "two connections that have data", func() bool {
		dev.board.mu.Lock()
		defer dev.board.mu.Unlock()
		ready := 0
		for _, s := range dev.board.slots {
			if s.conn != nil && s.conn.hooks[onReady].in {
				ready++
			}
		}
		return ready == len(peers)
	})
	var seen [2]int
	last := uint32(9)
	for range 24 {
		h, _ := d.expect(opData)
		if h.dstPort == last {
			t.Fatalf("connection %d has two turns, after %v", h.dstPort, seen)
		}
		last = h.dstPort
		seen[h.dstPort]++
	}
	if seen[0] < 8 || seen[1] < 8 {
		t.Errorf("turns %v", seen)
	}
}
