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

// TestManyRegions has more memory regions than one message holds.
func TestManyRegions(t *testing.T) {
	const size = 1 << 16
	var regions []memory.Region
	for i := range uint64(12) {
		r, err := memory.MapShared(i*2*size, size) // with holes between them
		if err != nil {
			t.Fatal(err)
		}
		defer r.Unmap()
		regions = append(regions, r)
	}
	mem, err := memory.New(regions...)
	if err != nil {
		t.Fatal(err)
	}
	kick, call := newEventFD(t), newEventFD(t)
	free := uint64(0)
	r := virtiotest.NewRing(mem, 64, func(n, align uint64) uint64 {
		free = (free+align-1)&^(align-1) + n
		return free - n
	})
	q, err := queue.New(mem, queue.Config{Size: 64, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Interrupt: bell{call}})
	if err != nil {
		t.Fatal(err)
	}
	dev := open(t, frontend.Spec{
		Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(serve(t, virtiotest.NewEcho(1, 64))),
	})
	for range 2 { // the second time, the back-end has the regions already
		if err := dev.Activate(&virtio.Activation{
			Memory: mem, Features: 1 << virtio.FeatureVersion1, Queues: []virtio.Queue{{Queue: q, Kick: kick}},
			Fail: func(err error) { t.Error(err) },
		}); err != nil {
			t.Fatal(err)
		}
		last := regions[11].GPA
		copy(regions[11].Bytes, "from afar")
		r.Offer(virtiotest.Piece{GPA: last, Len: 9}, virtiotest.Piece{GPA: last + 100, Len: 9, Write: true})
		if err := kick.Signal(); err != nil {
			t.Fatal(err)
		}
		for _, ok := r.Take(); !ok; _, ok = r.Take() {
			if _, err := call.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(regions[11].Bytes[100:109]); got != "from afar" {
			t.Errorf("%q came back", got)
		}
		clear(regions[11].Bytes)
		dev.Reset()
		cfg := q.Config()
		cfg.Start = q.UsedIndex()
		if q, err = queue.New(mem, cfg); err != nil {
			t.Fatal(err)
		}
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
