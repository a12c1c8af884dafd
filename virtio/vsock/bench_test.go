package vsock

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// bench is a driver that looks at its rings without interrupts, and a connection whose two ends are in one process: what
// is measured is the device, and nothing is allocated by the one who measures.
type bench struct {
	testing.TB
	dev      *Device
	rx, tx   *virtiotest.Ring
	posts    [dataQueueSize]virtiotest.Piece // by head
	hdr      []byte
	control  []virtiotest.Piece
	data     []virtiotest.Piece
	post     []virtiotest.Piece
	h        header
	end      *net.UnixConn
	received uint32
	buf      []byte
}

const benchBuffer = 4096 // of a receive buffer: as Linux has them

func newBench(t testing.TB, size int) *bench {
	t.Helper()
	dev := newDevice(t, Spec{})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{})
	g.Start(virtio.RingFeatures, 256)
	b := &bench{TB: t, dev: dev, rx: g.Rings[receiveQueue], tx: g.Rings[transmitQueue], buf: make([]byte, 64<<10)}
	b.rx.NoCall()
	b.tx.NoCall()
	b.post = make([]virtiotest.Piece, 1)
	for range 128 {
		b.offer(g.Out(benchBuffer))
	}
	p := g.Out(headerSize + uint32(size))
	p.Write = false
	b.hdr = g.Bytes(p.GPA, headerSize)
	b.control = []virtiotest.Piece{{GPA: p.GPA, Len: headerSize}}
	b.data = []virtiotest.Piece{{GPA: p.GPA, Len: headerSize}, {GPA: p.GPA + headerSize, Len: uint32(size)}}
	l := listenSocket(t, dev, 9)
	b.h = header{srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: 9, typ: typeStream, bufAlloc: DefaultBuffer}
	b.send(opRequest, b.control)
	if err := l.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	b.end = c
	return b
}

func (b *bench) offer(p virtiotest.Piece) {
	b.post[0] = p
	b.posts[b.rx.Offer(b.post...)] = p
}

func (b *bench) send(op uint16, pieces []virtiotest.Piece) {
	b.h.op, b.h.len, b.h.fwdCnt = op, 0, b.received
	if len(pieces) > 1 {
		b.h.len = pieces[1].Len
	}
	b.h.encode((*[headerSize]byte)(b.hdr))
	b.tx.Offer(pieces...)
	if b.tx.NeedsKick() {
		b.dev.Notify(transmitQueue) // in this thread, as by data path "exit"
	}
	for {
		if _, ok := b.tx.Take(); ok {
			b.tx.NoCall()
			return
		}
		runtime.Gosched()
	}
}

// fromGuest sends a packet of data, which the program reads.
func (b *bench) fromGuest() {
	b.send(opData, b.data)
	n := int(b.data[1].Len)
	if _, err := io.ReadFull(b.end, b.buf[:n]); err != nil {
		b.Fatal(err)
	}
	b.take()
}

// take takes packets from the device in, as far as they are there.
func (b *bench) take() {
	any := false
	for {
		u, ok := b.rx.Take()
		if !ok {
			break
		}
		any = true
		b.received += u.Len - headerSize
		b.offer(b.posts[u.Head])
	}
	if any {
		b.rx.NoCall()
		if b.rx.NeedsKick() {
			b.dev.Notify(receiveQueue)
		}
	}
}

// toGuest has the program write, and waits until the guest has it all.
func (b *bench) toGuest() {
	want := b.received + b.data[1].Len
	if _, err := b.end.Write(b.buf[:b.data[1].Len]); err != nil {
		b.Fatal(err)
	}
	for b.received != want {
		b.take()
		if b.received != want {
			time.Sleep(time.Microsecond) // so that Go's poller has its turn
		}
	}
	b.send(opCreditUpdate, b.control)
}

// TestNoAllocations: nothing is allocated for a packet.
func TestNoAllocations(t *testing.T) {
	b := newBench(t, 8192)
	if n := testing.AllocsPerRun(500, func() {
		b.fromGuest()
		b.toGuest()
	}); n != 0 {
		t.Errorf("%v allocations for 8 KiB each way", n)
	}
}

// TestNoAllocationsWhenSlow: nor when the program is slow, and the device keeps bytes for it.
func TestNoAllocationsWhenSlow(t *testing.T) {
	b := newBench(t, 32<<10)
	if n := testing.AllocsPerRun(50, func() {
		// More than the socket holds; the guest has credit for it, which it is told of.
		sent := 0
		for sent < 10 {
			b.send(opData, b.data)
			b.take()
			sent++
		}
		for range sent {
			if _, err := io.ReadFull(b.end, b.buf[:b.data[1].Len]); err != nil {
				b.Fatal(err)
			}
		}
		b.send(opCreditRequest, b.control)
		b.take()
	}); n != 0 {
		t.Errorf("%v allocations for 320 KiB", n)
	}
	if s := b.dev.Stats(); s.Drops != nil {
		t.Errorf("stats %+v", s)
	}
}

// BenchmarkDevice moves bytes through the device, in one direction, a packet at a time.
func BenchmarkDevice(b *testing.B) {
	for _, size := range []int{64, 4096 - headerSize, 65536} {
		b.Run(fmt.Sprintf("to-host/%d", size), func(b *testing.B) {
			x := newBench(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				x.fromGuest()
			}
		})
		b.Run(fmt.Sprintf("to-guest/%d", size), func(b *testing.B) {
			x := newBench(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				x.toGuest()
			}
		})
	}
}
