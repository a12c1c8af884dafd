package vsock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/virtio/virtiotest"
)

var kind = virtiotest.Kinds()[0]

// program reads the line that answers CONNECT.
func connected(t testing.TB, c net.Conn, p *peer) *bufio.Reader {
	t.Helper()
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("OK %d\n", p.tuple.host) {
		t.Fatalf("the program reads %q, %v; want OK %d", line, err, p.tuple.host)
	}
	return r
}

// dialGuest connects a program of the host to a port of the guest's.
func dialGuest(d *driver, port uint32) (*net.UnixConn, *peer) {
	d.Helper()
	c := dialSocket(d, d.Dev.(*Device).spec.Path)
	fmt.Fprintf(c, "CONNECT %d\n", port)
	p := d.answer(port)
	connected(d, c, p)
	return c, p
}

func wantEOF(t testing.TB, c io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("read %q, %v, want an end of file", b, err)
	}
}

func TestSocketFile(t *testing.T) {
	d := newDevice(t, Spec{})
	info, err := os.Lstat(d.spec.Path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%s: mode %v, %v; want 0600", d.spec.Path, info.Mode(), err)
	}
	if _, err := New(Spec{CID: 3, Path: d.spec.Path}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("New at a path that there is: %v", err)
	}
	if _, err := os.Lstat(d.spec.Path); err != nil {
		t.Errorf("one that was refused has removed the file: %v", err)
	}
	d.Close()
	if _, err := os.Lstat(d.spec.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	// One that somebody else has put there stays.
	d = newDevice(t, Spec{})
	if err := os.Remove(d.spec.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.spec.Path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := os.Lstat(d.spec.Path); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
}

func TestSpec(t *testing.T) {
	for _, s := range []Spec{
		{},
		{CID: HostCID},
		{CID: MaxGuestCID + 1},
		{CID: 1<<32 + 5},
		{CID: 3, Path: "/" + string(bytes.Repeat([]byte{'x'}, 100))},
		{CID: 3, MaxConnections: -1},
		{CID: 3, Buffer: 100},
		{CID: 3, Path: "/nowhere", Server: &server{}},
	} {
		if d, err := New(s); err == nil {
			t.Errorf("New took %+v", s)
			d.Close()
		}
	}
	if _, err := New(Spec{CID: 3, Path: "/no/such/folder/v.sock"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("New in a folder that is not there: %v", err)
	}
}

// TestHello: what programs say first.
func TestHello(t *testing.T) {
	for _, test := range []struct {
		line string
		port uint32
		ok   bool
	}{
		{"CONNECT 1", 1, true},
		{"connect 1024", 1024, true},
		{"CONNECT  52 ", 52, true},
		{"CONNECT 52\r", 52, true},
		{"CONNECT 4294967294", 4294967294, true},
		{"CONNECT 4294967295", 0, false},
		{"CONNECT 4294967296", 0, false},
		{"CONNECT -1", 0, false},
		{"CONNECT +1", 0, false},
		{"CONNECT 0x10", 0, false},
		{"CONNECT 1 2", 0, false},
		{"CONNECT", 0, false},
		{"CONNECT ", 0, false},
		{"CONNECTED 1", 0, false},
		{"", 0, false},
		{" CONNECT 1", 0, false},
	} {
		if port, ok := parseHello([]byte(test.line)); ok != test.ok || ok && port != test.port {
			t.Errorf("%q: port %d, %v", test.line, port, ok)
		}
	}
}

// TestHelloInPieces: a line may come byte by byte, and what is behind it belongs to the guest.
func TestHelloInPieces(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	c := dialSocket(t, dev.spec.Path)
	for _, b := range []byte("CONNECT 77") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(c, "\nmore\nthan a line")
	p := d.answer(77)
	connected(t, c, p)
	if got := p.read(16); string(got) != "more\nthan a line" {
		t.Errorf("the guest reads %q", got)
	}
	for _, line := range []string{"HELLO 1\n", "CONNECT\n", "CONNECT 1234567890123456789012345678901234567890\n"} {
		c := dialSocket(t, dev.spec.Path)
		fmt.Fprint(c, line)
		if n, err := c.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%q: read %d bytes, %v", line, n, err)
		}
	}
	d.quiet()
	if s := dev.Stats(); s.Refused != 3 || s.FromHost != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestRefused: nobody listens, on either side.
func TestRefused(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	c := dialSocket(t, dev.spec.Path)
	fmt.Fprint(c, "CONNECT 5\n")
	h, _ := d.expect(opRequest)
	p := &peer{driver: d, tuple: tuple{5, h.srcPort}}
	p.send(opReset, 0)
	wantEOF(t, c)

	p = &peer{driver: d, tuple: tuple{100, 200}}
	p.send(opRequest, 0)
	h, _ = d.expect(opReset)
	p.is(h)
	// A file that is there, and a socket that nobody listens at.
	if err := os.WriteFile(dev.spec.Path+"_200", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := listenSocket(t, dev, 201)
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, port := range []uint32{200, 201, portAny} {
		p.tuple.host = port
		p.send(opRequest, 0)
		h, _ = d.expect(opReset)
		p.is(h)
	}
	if s := dev.Stats(); s.Refused != 5 || s.Open != 0 || s.ResetsSent != 4 || s.ResetsReceived != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestStrangePackets: what belongs to no connection is answered with a RST, and what is no packet with nothing.
func TestStrangePackets(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	base := header{srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: 2, typ: typeStream}
	for op := range uint16(20) {
		if op == opReset {
			continue
		}
		h := base
		h.op = op
		d.sendRaw(packet(h, nil), 1000)
		if a, _ := d.expect(opReset); a != h.reset() {
			t.Errorf("operation %d: answer %+v", op, a)
		}
	}
	for name, change := range map[string]func(h *header){
		"another CID":          func(h *header) { h.dstCID = 5 },
		"a CID of 64 bits":     func(h *header) { h.dstCID = 1<<32 | HostCID },
		"seqpacket":            func(h *header) { h.typ = 2 },
		"a type that is not":   func(h *header) { h.typ = 0x1234 },
		"all ones as op":       func(h *header) { h.op = 0xffff },
		"a connection to none": func(h *header) { h.op = opRequest },
	} {
		h := base
		h.op = opData
		change(&h)
		d.sendRaw(packet(h, nil), 7)
		if a, _ := d.expect(opReset); a != h.reset() {
			t.Errorf("%s: answer %+v", name, a)
		}
		h.op = opReset // which nobody answers
		d.sendRaw(packet(h, nil), 7)
	}
	for _, cid := range []uint64{0, HostCID, guestCID + 1, 1<<32 | guestCID, ^uint64(0)} {
		h := base
		h.op, h.srcCID = opRequest, cid
		d.sendRaw(packet(h, nil), 1000)
	}
	full := packet(base, nil)
	for _, n := range []int{1, 16, headerSize - 1} {
		d.sendRaw(full[:n], 1000)
	}
	d.Do(transmitQueue, d.Out(100)) // nothing to read at all
	d.quiet()
	s := dev.Stats()
	if s.Drops[DropSource] != 5 || s.Drops[DropShort] != 4 || s.Drops[DropState] != 4 || s.Open != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestViolations: a packet that a connection cannot have ends it, and it alone.
func TestViolations(t *testing.T) {
	const buffer = 8192
	dev := newDevice(t, Spec{Buffer: buffer})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	good := d.call(50, 9)
	goodEnd := acceptSocket(t, l)
	for i, test := range []struct {
		name string
		why  Drop
		do   func(p *peer)
	}{
		{"operation 0", DropState, func(p *peer) { p.send(0, 0) }},
		{"operation 99", DropState, func(p *peer) { p.send(99, 0) }},
		{"a second request", DropState, func(p *peer) { p.send(opRequest, 0) }},
		{"a response", DropState, func(p *peer) { p.send(opResponse, 0) }},
		{"more than the buffer at once", DropCredit, func(p *peer) { p.write(make([]byte, buffer+1)) }},
		{"4 GiB", DropLength, func(p *peer) {
			h := p.header(opData)
			h.len = 0xffffffff
			p.sendRaw(packet(h, make([]byte, 10)), 1000)
		}},
		{"a byte more than there is", DropLength, func(p *peer) {
			h := p.header(opData)
			h.len = 11
			p.sendRaw(packet(h, make([]byte, 10)), 1000)
		}},
		{"data of a header alone", DropLength, func(p *peer) {
			h := p.header(opData)
			h.len = 1
			p.sendRaw(packet(h, nil), 1000)
		}},
		{"data after the end of data", DropState, func(p *peer) {
			p.send(opShutdown, shutSend)
			p.write([]byte("x"))
		}},
		{"took a byte that was not sent", DropCredit, func(p *peer) {
			p.received++
			p.send(opCreditUpdate, 0)
		}},
		{"took two billion bytes", DropCredit, func(p *peer) {
			p.received = 0x7fffffff
			p.send(opCreditUpdate, 0)
		}},
	} {
		before := dev.Stats().Drops[test.why]
		p := d.call(uint32(1000+i), 9)
		end := acceptSocket(t, l)
		test.do(p)
		h, _ := d.expect(opReset)
		p.is(h)
		wantEOF(t, end)
		if got := dev.Stats().Drops[test.why]; got != before+1 {
			t.Errorf("%s: %d drops for %v, want one", test.name, got-before, test.why)
		}
		end.Close()
	}
	good.write([]byte("alive"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(goodEnd, got); err != nil || string(got) != "alive" {
		t.Errorf("the other connection: %q, %v", got, err)
	}
	if n := dev.Stats().Open; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestHalfClose: each direction ends by itself.
func TestHalfClose(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	t.Run("host first", func(t *testing.T) {
		c, p := dialGuest(d, 80)
		fmt.Fprint(c, "request")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		p.read(7)
		if h, _ := d.expect(opShutdown); h.flags != shutSend {
			t.Errorf("flags %d", h.flags)
		}
		p.write([]byte("answer"))
		p.send(opShutdown, shutBoth)
		d.expect(opReset)
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
			t.Errorf("the program reads %q, %v", got, err)
		}
	})
	t.Run("guest first", func(t *testing.T) {
		c, p := dialGuest(d, 80)
		p.write([]byte("request"))
		p.send(opShutdown, shutSend)
		if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
			t.Errorf("the program reads %q, %v", got, err)
		}
		fmt.Fprint(c, "answer")
		p.read(6)
		c.Close()
		if h, _ := d.expect(opShutdown); h.flags != shutBoth {
			t.Errorf("flags %d", h.flags)
		}
		p.send(opReset, 0)
	})
	t.Run("guest takes no more", func(t *testing.T) {
		c, p := dialGuest(d, 80)
		p.send(opShutdown, shutReceive)
		if _, err := c.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("write: %v", err)
		}
		p.write([]byte("still here"))
		got := make([]byte, 10)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "still here" {
			t.Errorf("the program reads %q, %v", got, err)
		}
		c.Close()
		if h, _ := d.expect(opShutdown); h.flags != shutBoth {
			t.Errorf("flags %d", h.flags)
		}
		p.send(opReset, 0)
	})
	t.Run("host takes no more", func(t *testing.T) {
		c, p := dialGuest(d, 80)
		if err := c.CloseRead(); err != nil {
			t.Fatal(err)
		}
		p.write([]byte("nobody"))
		if h, _ := d.expect(opShutdown); h.flags != shutReceive {
			t.Errorf("flags %d", h.flags)
		}
		p.write([]byte("was under way already"))
		fmt.Fprint(c, "last words")
		p.read(10)
		c.Close()
		if h, _ := d.expect(opShutdown); h.flags != shutBoth {
			t.Errorf("flags %d", h.flags)
		}
		p.write([]byte("and this too"))
		p.send(opReset, 0)
	})
	t.Run("both at once", func(t *testing.T) {
		c, p := dialGuest(d, 80)
		c.Close()
		p.send(opShutdown, shutBoth)
		for {
			if h, _ := d.next(); h.op == opReset {
				break
			} else if h.op != opShutdown {
				t.Errorf("packet %+v", h)
			}
		}
		p.send(opReset, 0)
	})
	d.quiet()
	if s := dev.Stats(); s.Open != 0 || s.Drops != nil {
		t.Errorf("stats %+v", s)
	}
}

// TestUnread: a program closes with bytes unread; a guest dies with bytes that no program has read yet.
func TestUnread(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	c, p := dialGuest(d, 80)
	p.write([]byte("unread"))
	fmt.Fprint(c, "sent before")
	c.Close()
	p.read(11)
	if h, _ := d.expect(opShutdown); h.flags != shutBoth {
		t.Errorf("flags %d", h.flags)
	}
	p.send(opReset, 0)

	// More than the socket holds; the guest says good-bye, is answered at once, and can use its port again.
	l := listenSocket(t, dev, 9)
	for round := range 2 {
		p = d.call(1, 9)
		end := acceptSocket(t, l)
		want := bytes.Repeat([]byte{byte('a' + round)}, DefaultBuffer)
		for part := want; len(part) > 0; {
			n := min(len(part), 1<<15)
			p.write(part[:n])
			part = part[n:]
		}
		p.send(opShutdown, shutBoth)
		for {
			if h, _ := d.next(); h.op == opReset {
				break
			}
		}
		if round == 0 {
			p = d.call(1, 9) // the tuple again, while the first one's bytes are still to be read
			acceptSocket(t, l)
			p.send(opReset, 0)
		}
		if got, err := io.ReadAll(end); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the program reads %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	waitFor(t, "the end of all connections", func() bool { return dev.Stats().Open == 0 })
}

// TestSilentGuest: one that never answers is not waited for. It is the test that says when patience is over.
func TestSilentGuest(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	c := dialSocket(t, dev.spec.Path)
	fmt.Fprint(c, "CONNECT 80\n")
	d.expect(opRequest)
	tire(t, dev)
	d.expect(opReset)
	wantEOF(t, c)
	// Nor is a program that does not say what it wants, nor a guest that is told of an end.
	c = dialSocket(t, dev.spec.Path)
	tire(t, dev)
	wantEOF(t, c)
	c, _ = dialGuest(d, 81)
	c.Close()
	d.expect(opShutdown)
	tire(t, dev)
	d.expect(opReset)
	waitFor(t, "the end of all connections", func() bool { return dev.Stats().Open == 0 })
}

// tire waits for a connection that waits for somebody, and has its time be over.
func tire(t *testing.T, dev *Device) {
	t.Helper()
	waitFor(t, "a connection that waits", func() bool {
		dev.board.mu.Lock()
		defer dev.board.mu.Unlock()
		for _, s := range dev.board.slots {
			if s.conn != nil && s.conn.timer != nil {
				s.conn.timer.Reset(0)
				return true
			}
		}
		return false
	})
}

// TestBound: more connections than there may be are refused, on both sides, and there is room again after one ended.
func TestBound(t *testing.T) {
	dev := newDevice(t, Spec{MaxConnections: 3})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	var peers []*peer
	for i := range uint32(3) {
		peers = append(peers, d.call(i, 9))
		acceptSocket(t, l)
	}
	p := &peer{driver: d, tuple: tuple{guest: 10, host: 9}}
	p.send(opRequest, 0)
	d.expect(opReset)
	if _, err := dev.DialContext(context.Background(), 5); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	wantEOF(t, dialSocket(t, dev.spec.Path))
	peers[0].send(opReset, 0)
	d.call(10, 9)
}

// TestBytesBehind: a packet may be in a buffer that is longer, and have no data at all.
func TestBytesBehind(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	l := listenSocket(t, dev, 9)
	p := d.call(1, 9)
	end := acceptSocket(t, l)
	for n := range uint32(4) {
		h := p.header(opData)
		h.len = n
		p.sendRaw(packet(h, []byte("abcdefgh")), 2)
	}
	p.send(opShutdown, shutSend|0xfffffffc) // bits that mean nothing
	if got, err := io.ReadAll(end); err != nil || string(got) != "aababc" {
		t.Errorf("the program reads %q, %v", got, err)
	}
	if b, err := json.Marshal(dev.Stats()); err != nil || !bytes.Contains(b, []byte(`"fromGuestBytes":6`)) {
		t.Errorf("stats %s, %v", b, err)
	}
}
