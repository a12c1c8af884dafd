package frontend_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"tandem/internal/eventfd"
	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// TestAccept has the back-end connect, and connect again.
func TestAccept(t *testing.T) {
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	soon, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	spec := frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Accept(l)}
	if _, err := frontend.Open(soon, spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody connects: %v, want DeadlineExceeded", err)
	}
	s, err := backend.New(virtiotest.NewEcho(1, 64), backend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	join := func() *net.UnixConn {
		c, err := net.DialUnix("unix", nil, addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- s.ServeConn(c) }()
		return c
	}
	c := join()
	dev := open(t, spec)
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(0, 16)
	probeEcho(g)
	c.Close()
	<-ended // with the error that the connection is closed
	join()
	probeEcho(g)
	g.ResetDevice()
	dev.Close()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// bell is an interrupt that is an eventfd.
type bell struct{ *eventfd.FD }

func (b bell) Signal()            { _ = b.FD.Signal() }
func (b bell) Event() *eventfd.FD { return b.FD }

// ringGuest is a ring in shared memory, without a transport.
type ringGuest struct {
	mem        *memory.Space
	regions    []memory.Region
	ring       *virtiotest.Ring
	queue      *queue.Queue
	kick, call *eventfd.FD
}

// newRingGuest makes one in twelve regions with holes between them.
func newRingGuest(t testing.TB) *ringGuest {
	t.Helper()
	const size = 1 << 16
	g := &ringGuest{kick: newEventFD(t), call: newEventFD(t)}
	for i := range uint64(12) {
		r, err := memory.MapShared(i*2*size, size)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Unmap() })
		g.regions = append(g.regions, r)
	}
	var err error
	if g.mem, err = memory.New(g.regions...); err != nil {
		t.Fatal(err)
	}
	free := uint64(0)
	g.ring = virtiotest.NewRing(g.mem, 64, func(n, align uint64) uint64 {
		free = (free+align-1)&^(align-1) + n
		return free - n
	})
	g.remake(t, 0)
	return g
}

// remake is what a transport does when the driver starts the device.
func (g *ringGuest) remake(t testing.TB, start uint16) {
	t.Helper()
	r := g.ring
	var err error
	g.queue, err = queue.New(g.mem, queue.Config{
		Size: 64, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Start: start, Interrupt: bell{g.call},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (g *ringGuest) activation(t testing.TB) *virtio.Activation {
	return &virtio.Activation{
		Memory: g.mem, Features: 1 << virtio.FeatureVersion1, Queues: []virtio.Queue{{Queue: g.queue, Kick: g.kick}},
		Fail: func(err error) { t.Error(err) },
	}
}

func (g *ringGuest) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(virtiotest.Patience); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestManyRegions has more memory regions than one message holds.
func TestManyRegions(t *testing.T) {
	g := newRingGuest(t)
	dev := open(t, frontend.Spec{
		Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(serve(t, virtiotest.NewEcho(1, 64))),
	})
	for range 2 { // the second time, the back-end has the regions already
		if err := dev.Activate(g.activation(t)); err != nil {
			t.Fatal(err)
		}
		last := g.regions[11]
		copy(last.Bytes, "from afar")
		g.ring.Offer(virtiotest.Piece{GPA: last.GPA, Len: 9}, virtiotest.Piece{GPA: last.GPA + 100, Len: 9, Write: true})
		if err := g.kick.Signal(); err != nil {
			t.Fatal(err)
		}
		for _, ok := g.ring.Take(); !ok; _, ok = g.ring.Take() {
			if _, err := g.call.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(last.Bytes[100:109]); got != "from afar" {
			t.Errorf("%q came back", got)
		}
		clear(last.Bytes)
		dev.Reset()
		g.remake(t, g.queue.UsedIndex())
	}
}

func newEventFD(t testing.TB) *eventfd.FD {
	t.Helper()
	e, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}
