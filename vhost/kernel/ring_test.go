package kernel

import (
	"testing"
	"time"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// guest is memory, and what a driver puts there.
type guest struct {
	testing.TB
	mem  *memory.Space
	free uint64
	fail chan error
}

func newGuest(t testing.TB) *guest {
	t.Helper()
	return &guest{TB: t, mem: virtiotest.NewMemory(t), free: 0x1000, fail: make(chan error, 1)}
}

func (g *guest) alloc(n, align uint64) uint64 {
	g.free = (g.free + align - 1) &^ (align - 1)
	g.free += n
	return g.free - n
}

func (g *guest) bytes(gpa, n uint64) []byte {
	b, err := g.mem.Slice(gpa, n)
	if err != nil {
		g.Fatal(err)
	}
	return b
}

// signals is a queue.Interrupt, with an eventfd or without one.
type signals struct {
	event  *eventfd.FD
	hidden bool // Signal alone will do
}

func (s signals) Signal() { _ = s.event.Signal() }

func (s signals) Event() *eventfd.FD {
	if s.hidden {
		return nil
	}
	return s.event
}

// ringQueue is a ring and its eventfds.
type ringQueue struct {
	*virtiotest.Ring
	kick, call *eventfd.FD
	queue      *queue.Queue
}

func (g *guest) eventFD() *eventfd.FD {
	e, err := eventfd.New()
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { e.Close() })
	return e
}

func (g *guest) ring(i int, hidden bool) *ringQueue {
	g.Helper()
	r := &ringQueue{Ring: virtiotest.NewRing(g.mem, 64, g.alloc), kick: g.eventFD(), call: g.eventFD()}
	var err error
	r.queue, err = queue.New(g.mem, queue.Config{
		Index: i, Size: 64, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Interrupt: signals{r.call, hidden},
	})
	if err != nil {
		g.Fatal(err)
	}
	return r
}

func (r *ringQueue) device() virtio.Queue { return virtio.Queue{Queue: r.queue, Kick: r.kick} }

func (g *guest) activation(features uint64, rings ...*ringQueue) *virtio.Activation {
	a := &virtio.Activation{
		Memory: g.mem, Features: 1<<virtio.FeatureVersion1 | features,
		Fail: func(err error) {
			select {
			case g.fail <- err:
			default:
			}
		},
	}
	for _, r := range rings {
		a.Queues = append(a.Queues, r.device())
	}
	return a
}

// take waits, by calls, for a chain to come back.
func (g *guest) take(r *ringQueue) virtiotest.Used {
	g.Helper()
	called := make(chan struct{})
	timer := time.AfterFunc(virtiotest.Patience, func() { close(called); r.call.Close() })
	defer timer.Stop()
	for {
		if u, ok := r.Take(); ok {
			return u
		}
		if _, err := r.call.Wait(); err != nil {
			select {
			case err := <-g.fail:
				g.Fatalf("the device failed: %v", err)
			default:
				g.Fatal("no call")
			}
		}
	}
}
