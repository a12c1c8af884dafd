package console

import (
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// peer is the host's end of port 0: what is sent to the guest, and what it has sent.
type peer struct {
	*Device
	t    testing.TB
	in   *io.PipeWriter
	conn *Connection
	got  *sink
}

// sink keeps what is written to it. While stopped, it takes nothing.
type sink struct {
	mu      sync.Mutex
	changed sync.Cond
	data    []byte
	stopped bool
}

func newSink() *sink {
	s := &sink{}
	s.changed.L = &s.mu
	return s
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.stopped {
		s.changed.Wait()
	}
	s.data = append(s.data, p...)
	s.changed.Broadcast()
	return len(p), nil
}

func (s *sink) stop(stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = stopped
	s.changed.Broadcast()
}

// waitLen waits until n bytes are there, and takes all that are.
func (s *sink) take(t testing.TB, n int) []byte {
	t.Helper()
	timer := time.AfterFunc(virtiotest.Patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer timer.Stop()
	deadline := time.Now().Add(virtiotest.Patience)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.data) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes came, want %d", len(s.data), n)
		}
		s.changed.Wait()
	}
	data := s.data
	s.data = nil
	return data
}

// connect makes a device with somebody at its port 0.
func connect(t testing.TB, spec Spec) *peer {
	t.Helper()
	d, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Device: d, t: t, got: newSink()}
	r, w := io.Pipe()
	p.in = w
	if p.conn, err = d.Ports()[0].Connect(r, p.got); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		p.got.stop(false)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func single() Spec { return Spec{Ports: []PortSpec{{Console: true}}, Single: true} }

func three() Spec {
	return Spec{Ports: []PortSpec{{Name: "first"}, {Console: true}, {Name: "third.port"}}}
}

// message is a control message.
type message struct {
	id           uint32
	event, value uint16
	rest         string
}

func (m message) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, m.id)
	b = binary.LittleEndian.AppendUint16(b, m.event)
	return append(binary.LittleEndian.AppendUint16(b, m.value), m.rest...)
}

// say sends a control message as a driver does.
func say(g *virtiotest.Guest, id uint32, event, value uint16) {
	g.Helper()
	in := g.In(message{id, event, value, ""}.bytes())
	g.Do(controlTransmitQueue, in)
	g.ReuseFrom(in.GPA)
}

// hear waits for the next control message.
func hear(g *virtiotest.Guest) message {
	g.Helper()
	out := g.Out(300)
	u := g.Do(controlReceiveQueue, out)
	b := g.Bytes(out.GPA, uint64(u.Len))
	g.ReuseFrom(out.GPA)
	if len(b) < controlSize {
		g.Fatalf("a control message of %d bytes", len(b))
	}
	return message{
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), string(b[controlSize:]),
	}
}

// expect waits for control messages, one after the other.
func expect(g *virtiotest.Guest, want ...message) {
	g.Helper()
	for _, w := range want {
		if got := hear(g); got != w {
			g.Fatalf("control message %+v, want %+v", got, w)
		}
	}
}

// newPeer and newSingle are for virtiotest.
func newPeer(t testing.TB) virtio.Device   { return connect(t, three()) }
func newSingle(t testing.TB) virtio.Device { return connect(t, single()) }

// probe has the host send to port 0, whose receiveq is queue 0.
func probe(g *virtiotest.Guest) {
	g.Helper()
	p := g.Dev.(*peer)
	if p.multiport.Load() && !p.Ports()[0].Open() {
		// The control queues may not be there: what they would say is said to the device itself.
		p.control([controlSize]byte(message{0, eventPortOpen, 1, ""}.bytes()))
	}
	out := g.Out(16)
	head := g.Rings[0].Offer(out)
	g.Kick(0)
	if _, err := p.in.Write([]byte("hello, guest")); err != nil {
		g.Fatal(err)
	}
	u := g.WaitUsed(0)
	if got := string(g.Bytes(out.GPA, uint64(u.Len))); got != "hello, guest" || u.Head != uint32(head) {
		g.Fatalf("chain %d brought %q, want %d with %q", u.Head, got, head, "hello, guest")
	}
	g.ReuseFrom(out.GPA)
}
