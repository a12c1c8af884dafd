package vsock

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/virtio/virtiotest"
)

const guestCID = 7

// newDevice makes a device with a Unix socket of its own.
func newDevice(t testing.TB, spec Spec) *Device {
	t.Helper()
	if spec.CID == 0 {
		spec.CID = guestCID
	}
	if spec.Path == "" && spec.Server == nil {
		spec.Path = filepath.Join(t.TempDir(), "v.sock")
	}
	d, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// driver is a guest's side by hand: a packet a call. It has the ring's buffers for packets to the guest.
type driver struct {
	*virtiotest.Guest
	size  uint32                      // of a receive buffer
	posts map[uint32]virtiotest.Piece // by head
	lazy  bool                        // a buffer is posted when a packet is expected, and not before
}

// newDriver plugs a device in and posts buffers.
func newDriver(t testing.TB, d *Device, kind virtiotest.Kind, buffers int) *driver {
	t.Helper()
	g := virtiotest.New(t, kind, d, virtiotest.Options{})
	return startDriver(g, buffers)
}

func startDriver(g *virtiotest.Guest, buffers int) *driver {
	g.Helper()
	g.Start(^uint64(0), 64)
	return adopt(g, buffers)
}

// adopt drives a guest that was started.
func adopt(g *virtiotest.Guest, buffers int) *driver {
	d := &driver{Guest: g, size: 512, posts: make(map[uint32]virtiotest.Piece)}
	d.post(buffers)
	return d
}

// post gives the device buffers.
func (d *driver) post(n int) {
	d.Helper()
	for range n {
		d.offer(d.Out(d.size))
	}
	d.Kick(receiveQueue)
}

func (d *driver) offer(p virtiotest.Piece) {
	// In two pieces, one of which has less than the header.
	head := d.Rings[receiveQueue].Offer(
		virtiotest.Piece{GPA: p.GPA, Len: 20, Write: true},
		virtiotest.Piece{GPA: p.GPA + 20, Len: p.Len - 20, Write: true})
	d.posts[uint32(head)] = p
}

// next waits for a packet to the guest. Its buffer is posted again.
func (d *driver) next() (h header, data []byte) {
	d.Helper()
	if d.lazy {
		defer d.ReuseFrom(d.Alloc(0, 1))
		d.post(1)
	}
	u := d.WaitUsed(receiveQueue)
	p, ok := d.posts[u.Head]
	if !ok {
		d.Fatalf("chain %d came back, which was not posted", u.Head)
	}
	delete(d.posts, u.Head)
	b := slices.Clone(d.Bytes(p.GPA, uint64(p.Len)))
	h.decode((*[headerSize]byte)(b))
	if u.Len != headerSize+h.len {
		d.Errorf("packet %+v in %d bytes", h, u.Len)
	}
	if h.dstCID != guestCID {
		d.Errorf("packet %+v to another guest", h)
	}
	if !d.lazy {
		d.offer(p)
		d.Kick(receiveQueue)
	}
	return h, b[headerSize:u.Len]
}

// expect waits for a packet, which has to have an operation.
func (d *driver) expect(op uint16) (h header, data []byte) {
	d.Helper()
	h, data = d.next()
	if h.op != op {
		d.Fatalf("packet %+v (%q), want operation %d", h, data, op)
	}
	return h, data
}

// quiet checks that there is no packet to the guest. A packet that comes later fails whoever waits for another one.
func (d *driver) quiet() {
	d.Helper()
	if u, ok := d.Rings[receiveQueue].Take(); ok {
		var h header
		h.decode((*[headerSize]byte)(d.Bytes(d.posts[u.Head].GPA, headerSize)))
		d.Errorf("an unexpected packet: %+v", h)
	}
}

// sendRaw sends bytes, in pieces of at most so many.
func (d *driver) sendRaw(b []byte, size int) {
	d.Helper()
	var pieces []virtiotest.Piece
	for part := range slices.Chunk(b, size) {
		pieces = append(pieces, d.In(part))
	}
	if u := d.Do(transmitQueue, pieces...); u.Len != 0 {
		d.Errorf("the device says that it wrote %d bytes of a packet that it read", u.Len)
	}
	d.ReuseFrom(pieces[0].GPA)
}

func packet(h header, data []byte) []byte {
	var b [headerSize]byte
	h.encode(&b)
	return append(b[:], data...)
}

// peer is the guest's end of a connection.
type peer struct {
	*driver
	tuple
	received uint32
	alloc    uint32
}

// header is a packet's of this connection.
func (p *peer) header(op uint16) header {
	return header{
		srcCID: guestCID, dstCID: HostCID, srcPort: p.guest, dstPort: p.tuple.host, typ: typeStream, op: op,
		bufAlloc: p.alloc, fwdCnt: p.received,
	}
}

func (p *peer) send(op uint16, flags uint32) {
	p.Helper()
	h := p.header(op)
	h.flags = flags
	p.sendRaw(packet(h, nil), 1000)
}

func (p *peer) write(data []byte) {
	p.Helper()
	h := p.header(opData)
	h.len = uint32(len(data))
	p.sendRaw(packet(h, data), 30000)
}

// read waits for so many bytes of data.
func (p *peer) read(n int) (b []byte) {
	p.Helper()
	for len(b) < n {
		h, data := p.expect(opData)
		if h.srcPort != p.tuple.host || h.dstPort != p.guest || h.srcCID != HostCID {
			p.Fatalf("data of another connection: %+v", h)
		}
		b = append(b, data...)
		p.received += h.len
	}
	return b
}

// is checks that a packet belongs to the connection.
func (p *peer) is(h header) {
	p.Helper()
	if h.srcPort != p.tuple.host || h.dstPort != p.guest || h.srcCID != HostCID || h.typ != typeStream {
		p.Errorf("packet %+v is not of connection %+v", h, p.tuple)
	}
}

// call connects from the guest; who listens has to accept.
func (d *driver) call(guest, host uint32) *peer {
	d.Helper()
	p := &peer{driver: d, tuple: tuple{guest: guest, host: host}, alloc: 1 << 16}
	p.send(opRequest, 0)
	h, _ := d.expect(opResponse)
	p.is(h)
	return p
}

// answer takes a connection that the host asks for.
func (d *driver) answer(guest uint32) *peer {
	d.Helper()
	h, _ := d.expect(opRequest)
	if h.dstPort != guest || h.srcCID != HostCID || h.typ != typeStream || h.bufAlloc == 0 {
		d.Fatalf("request %+v, want one for port %d", h, guest)
	}
	p := &peer{driver: d, tuple: tuple{guest: guest, host: h.srcPort}, alloc: 1 << 16}
	p.send(opResponse, 0)
	return p
}

// dialSocket is a program that connects to a Unix socket.
func dialSocket(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// listenSocket is a program that listens for a port of the host's.
func listenSocket(t testing.TB, d *Device, port uint32) *net.UnixListener {
	t.Helper()
	l, err := net.Listen("unix", fmt.Sprintf("%s_%d", d.spec.Path, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	return l.(*net.UnixListener)
}

func acceptSocket(t testing.TB, l *net.UnixListener) *net.UnixConn {
	t.Helper()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// waitFor waits for a condition of the device's that nobody signals.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(virtiotest.Patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
