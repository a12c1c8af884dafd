package vsock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// dial connects the monitor to a port of the guest's.
func dial(d *driver, port uint32) (net.Conn, *peer) {
	d.Helper()
	type result struct {
		net.Conn
		error
	}
	done := make(chan result, 1)
	go func() {
		c, err := d.Dev.(*Device).DialContext(context.Background(), port)
		done <- result{c, err}
	}()
	p := d.answer(port)
	r := <-done
	if r.error != nil {
		d.Fatal(r.error)
	}
	d.Cleanup(func() { r.Conn.Close() })
	if err := r.Conn.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		d.Fatal(err)
	}
	return r.Conn, p
}

func TestDial(t *testing.T) {
	dev := newDevice(t, Spec{})
	if _, err := dev.DialContext(context.Background(), 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("dial before the driver is there: %v", err)
	}
	d := newDriver(t, dev, kind, 8)
	c, p := dial(d, 1024)
	if got, want := c.RemoteAddr(), (Addr{guestCID, 1024}); got != want {
		t.Errorf("remote address %v, want %v", got, want)
	}
	if got, want := c.LocalAddr(), (Addr{HostCID, p.tuple.host}); got != want || got.Network() != "vsock" || got.String() != fmt.Sprintf("2:%d", want.Port) {
		t.Errorf("local address %v, want %v", got, want)
	}
	fmt.Fprint(c, "ping")
	if got := p.read(4); string(got) != "ping" {
		t.Errorf("the guest reads %q", got)
	}
	p.write([]byte("pong"))
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "pong" {
		t.Errorf("the monitor reads %q, %v", got, err)
	}
	if err := c.(Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if h, _ := d.expect(opShutdown); h.flags != shutSend {
		t.Errorf("flags %d", h.flags)
	}
	c.Close()
	if h, _ := d.expect(opShutdown); h.flags != shutBoth {
		t.Errorf("flags %d", h.flags)
	}
	p.send(opReset, 0)

	// The guest refuses; the caller gives up; the caller had given up before.
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	call := func() {
		_, err := dev.DialContext(ctx, 5)
		done <- err
	}
	go call()
	h, _ := d.expect(opRequest)
	p = &peer{driver: d, tuple: tuple{5, h.srcPort}}
	p.send(opReset, 0)
	if err := <-done; !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial of a port that nobody listens at: %v", err)
	}
	go call()
	h, _ = d.expect(opRequest)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("dial that was cancelled: %v", err)
	}
	d.expect(opReset)
	p.tuple.host = h.srcPort
	p.send(opResponse, 0) // too late
	d.expect(opReset)
	if _, err := dev.DialContext(ctx, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with a context that is over: %v", err)
	}
	if _, err := dev.DialContext(context.Background(), portAny); err == nil {
		t.Error("dial of any port")
	}
	if n := dev.Stats().Open; n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestListen(t *testing.T) {
	dev := newDevice(t, Spec{})
	d := newDriver(t, dev, kind, 8)
	l, err := dev.Listen(52)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Listen(52); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	p := d.call(7, 52)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr() != (Addr{guestCID, 7}) || c.LocalAddr() != (Addr{HostCID, 52}) || l.Addr() != (Addr{HostCID, 52}) {
		t.Errorf("from %v to %v at %v", c.RemoteAddr(), c.LocalAddr(), l.Addr())
	}
	fmt.Fprint(c, "hello")
	p.read(5)

	// Those that wait end with the listener, and more than may wait are refused.
	for i := range uint32(backlog) {
		d.call(100+i, 52)
	}
	p = &peer{driver: d, tuple: tuple{99, 52}}
	p.send(opRequest, 0)
	h, _ := d.expect(opReset)
	p.is(h)
	l.Close()
	for range backlog {
		if h, _ := d.expect(opShutdown); h.flags != shutBoth {
			t.Errorf("flags %d", h.flags)
		}
		d.sendRaw(packet(header{srcCID: guestCID, dstCID: HostCID, srcPort: h.dstPort, dstPort: h.srcPort, typ: typeStream, op: opReset}, nil), 100)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	p.send(opRequest, 0)
	d.expect(opReset)

	// The device's end ends a listener, and those who wait.
	if l, err = dev.Listen(52); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	g := d.Guest
	g.ResetDevice()
	dev.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept when the device ends: %v", err)
	}
	if _, err := dev.Listen(53); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen after the end: %v", err)
	}
	if _, err := dev.DialContext(context.Background(), 53); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after the end: %v", err)
	}
	l.Close()
}

// connections opens one of each kind, with bytes under way, and gives the host's ends.
func connections(d *driver) (ends []net.Conn) {
	d.Helper()
	dev := d.Dev.(*Device)
	l := listenSocket(d, dev, 9)
	defer l.Close()
	p := d.call(1, 9)
	p.write([]byte("abc"))
	a, q := dialGuest(d, 80)
	q.write([]byte("def"))
	b, r := dial(d, 81)
	r.write([]byte("ghi"))
	ends = []net.Conn{acceptSocket(d, l), a, b}
	for _, c := range ends {
		// More than there are buffers for.
		if _, err := c.Write(bytes.Repeat([]byte{'x'}, 1<<16)); err != nil {
			d.Fatal(err)
		}
	}
	return ends
}

// allEnd checks that connections have ended, with what the guest had sent before.
func allEnd(t testing.TB, ends []net.Conn) {
	t.Helper()
	for i, c := range ends {
		// The program had sent what the guest did not take: that is an error to it, as with any socket.
		got, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, unix.ECONNRESET) || err == nil && len(got) != 3 {
			t.Errorf("connection %d: %q, %v", i, got, err)
		}
		c.Close()
	}
}

// TestReset: connections of all kinds end with the driver, and the next driver can begin.
func TestReset(t *testing.T) {
	for _, kind := range virtiotest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			g := virtiotest.New(t, kind, dev, virtiotest.Options{})
			for range 3 {
				d := startDriver(g, 16)
				ends := connections(d)
				done := make(chan error)
				go func() {
					_, err := dev.DialContext(context.Background(), 5)
					done <- err
				}()
				waitFor(t, "the dial", func() bool { return dev.Stats().Open == 4 })
				g.ResetDevice()
				if err := <-done; !errors.Is(err, ErrNotReady) {
					t.Errorf("dial: %v", err)
				}
				allEnd(t, ends)
				if s := dev.Stats(); s.Open != 0 {
					t.Errorf("stats %+v", s)
				}
				// A program that comes while there is no driver is not kept waiting.
				c := dialSocket(t, dev.spec.Path)
				fmt.Fprint(c, "CONNECT 1\n")
				wantEOF(t, c)
			}
		})
	}
}

// TestQueueReset: a queue that is reset ends all connections, and the driver is told by an event.
func TestQueueReset(t *testing.T) {
	for _, q := range []int{receiveQueue, transmitQueue} {
		t.Run(fmt.Sprint("queue ", q), func(t *testing.T) {
			dev := newDevice(t, Spec{})
			g := virtiotest.New(t, kind, dev, virtiotest.Options{})
			agreed := g.Start(^uint64(0), 64)
			d := adopt(g, 16)
			event := d.postEvent()
			ends := connections(d)
			g.ResetQueue(q)
			allEnd(t, ends)
			d.wantEvent(event)
			g.AddRing(q, 64, agreed)
			g.SetInterrupts(len(g.Rings))
			if q == receiveQueue {
				clear(d.posts)
				d.post(8)
			} else {
				// What was sent before the reset is still there.
				for len(d.posts) > 0 {
					if u, ok := d.Rings[receiveQueue].Take(); ok {
						delete(d.posts, u.Head)
						continue
					}
					break
				}
				d.post(8)
			}
			c, p := dialGuest(d, 80)
			fmt.Fprint(c, "again")
			p.read(5)
			p.send(opReset, 0)
			if s := dev.Stats(); s.Drops != nil {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func (d *driver) postEvent() virtiotest.Piece {
	d.Helper()
	p := d.Out(8)
	binary.LittleEndian.PutUint32(d.Bytes(p.GPA, 4), 0xffffffff)
	d.Rings[eventQueue].Offer(p)
	d.Kick(eventQueue)
	return p
}

func (d *driver) wantEvent(p virtiotest.Piece) {
	d.Helper()
	u := d.WaitUsed(eventQueue)
	if id := binary.LittleEndian.Uint32(d.Bytes(p.GPA, 4)); u.Len != 4 || id != eventTransportReset {
		d.Errorf("event %d in %d bytes", id, u.Len)
	}
}

// TestResetTransport, before and after there is a buffer for the event.
func TestResetTransport(t *testing.T) {
	for _, kind := range virtiotest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			g := virtiotest.New(t, kind, dev, virtiotest.Options{})
			dev.ResetTransport() // nobody is there to be told
			d := startDriver(g, 32)
			ends := connections(d)
			dev.ResetTransport()
			dev.ResetTransport()
			allEnd(t, ends)
			d.wantEvent(d.postEvent())
			event := d.postEvent()
			if u, ok := d.Rings[eventQueue].Take(); ok {
				t.Errorf("a second event: %+v", u)
			}
			dev.ResetTransport()
			d.wantEvent(event)
		})
	}
}

// TestBrokenQueues: a buffer that is none breaks its ring. All connections end.
func TestBrokenQueues(t *testing.T) {
	for _, test := range []struct {
		name  string
		queue int
		size  uint32
	}{{"receive", receiveQueue, headerSize}, {"event", eventQueue, 3}, {"transmit", transmitQueue, 0}} {
		t.Run(test.name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			d := newDriver(t, dev, kind, 16)
			l, err := dev.Listen(9)
			if err != nil {
				t.Fatal(err)
			}
			d.call(1, 9)
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if test.size > 0 {
				d.Rings[test.queue].Offer(d.Out(test.size))
			} else {
				d.Rings[test.queue].SetAvail(d.Rings[test.queue].Size)
			}
			d.Notify(test.queue)
			d.WaitNeedsReset()
			wantEOF(t, c)
			var broken *queue.Error
			if r := d.Reports(); len(r) != 1 || !errors.As(r[0], &broken) || broken.Queue != test.queue {
				t.Errorf("reports %v", r)
			}
			if _, err := dev.DialContext(context.Background(), 1); !errors.Is(err, ErrNotReady) {
				t.Errorf("dial: %v", err)
			}
			d = startDriver(d.Guest, 8)
			d.call(1, 9).send(opReset, 0)
		})
	}
}

// server stands for the kernel's vhost.
type server struct {
	active *virtio.Activation
	calls  []string
}

func (s *server) Features() uint64 {
	return virtio.RingFeatures | 1<<FeatureSeqPacket | 1<<virtio.FeatureRingPacked
}

func (s *server) Activate(a *virtio.Activation) error {
	s.active = a
	return nil
}
func (s *server) Reset()          { s.active = nil }
func (s *server) StopQueue(i int) { s.calls = append(s.calls, fmt.Sprint("stop ", i)) }
func (s *server) StartQueue(i int, q virtio.Queue) error {
	s.calls = append(s.calls, fmt.Sprint("start ", i))
	return nil
}

// TestServer: two queues are somebody else's, the events stay.
func TestServer(t *testing.T) {
	for _, kind := range virtiotest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			s := &server{}
			dev := newDevice(t, Spec{Server: s})
			if f := dev.Features(); f != virtio.RingFeatures|1<<FeatureSeqPacket|1<<virtio.FeatureRingReset {
				t.Errorf("features %#x", f)
			}
			if _, err := dev.DialContext(context.Background(), 1); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("dial: %v", err)
			}
			if _, err := dev.Listen(1); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("listen: %v", err)
			}
			g := virtiotest.New(t, kind, dev, virtiotest.Options{})
			agreed := g.Start(^uint64(0), 16)
			if s.active == nil || len(s.active.Queues) != 2 || s.active.Queues[0].Queue == nil || s.active.Queues[1].Queue == nil {
				t.Fatalf("the server has %+v", s.active)
			}
			for q := range 2 {
				g.Notify(q)
				if n, err := s.active.Queues[q].Kick.Wait(); n == 0 || err != nil {
					t.Errorf("queue %d: %d kicks, %v", q, n, err)
				}
			}
			d := adopt(g, 0)
			dev.ResetTransport()
			d.wantEvent(d.postEvent())
			if agreed&(1<<virtio.FeatureRingReset) != 0 {
				g.ResetQueue(1)
				g.AddRing(1, 16, agreed)
				if got := fmt.Sprint(s.calls); got != "[stop 1 start 1]" {
					t.Errorf("the server was told to %s", got)
				}
			}
			if got := g.Config64(0); got != guestCID {
				t.Errorf("CID %d", got)
			}
			// A server that fails has the device leave the events alone too.
			s.active.Fail(errors.New("the server gave up"))
			g.WaitNeedsReset()
			events := g.Rings[eventQueue]
			used := events.UsedIdx()
			d.postEvent()
			dev.ResetTransport()
			g.Notify(eventQueue)
			g.ResetDevice()
			if s.active != nil {
				t.Error("the server is still active")
			}
			if got := events.UsedIdx(); got != used {
				t.Errorf("used index of the event queue went from %d to %d after the server failed", used, got)
			}
			if r := g.Reports(); len(r) != 1 {
				t.Errorf("reports %v, want the server's", r)
			}
		})
	}
}
