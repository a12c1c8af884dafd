package kernel

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tandem/internal/eventfd"
	"tandem/vhost"
	"tandem/virtio"
)

// ErrFailed says that the kernel met a ring that makes no sense. It alone knows more
// (and says so in its log, if vhost's debugging is on).
var ErrFailed = errors.New("the kernel gave a ring up")

// ring is a queue that the kernel serves.
type ring struct {
	dev   *Device
	index int       // in its device
	addr  VringAddr // where the kernel was told that it is
	call  *vhost.Call
}

// startRing tells the kernel all of a ring but to start. logged has writes to the used ring marked.
func startRing(dev *Device, index int, q virtio.Queue, l *life, logged bool, busy time.Duration) (r *ring, err error) {
	cfg := q.Config()
	call, err := vhost.NewCall(cfg.Interrupt)
	if err != nil {
		return nil, err
	}
	r = &ring{dev: dev, index: index, call: call}
	defer func() {
		if err != nil {
			r.forget()
		}
	}()
	addr := VringAddr{Index: uint32(index), LogGuest: cfg.Used}
	for _, a := range []struct {
		gpa uint64
		to  *uint64
	}{{cfg.Desc, &addr.Desc}, {cfg.Avail, &addr.Avail}, {cfg.Used, &addr.Used}} {
		b, err := l.Memory.Slice(a.gpa, 1)
		if err != nil {
			return nil, err
		}
		*a.to = vhost.Address(b)
	}
	r.addr = addr
	for _, step := range []func() error{
		func() error { return dev.SetVringNum(index, cfg.Size) },
		func() error { return dev.SetVringBase(index, cfg.Start) },
		func() error { return r.setAddr(logged) },
		func() error { return dev.SetVringErr(index, l.failed.Fd()) },
		func() error { return dev.SetVringCall(index, call.Event().Fd()) },
		func() error { return dev.SetVringKick(index, q.Kick.Fd()) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if busy > 0 {
		if err := dev.SetBusyLoop(index, busy); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// setAddr says where the ring is, also while it runs: then the addresses must be the same.
func (r *ring) setAddr(logged bool) error {
	a := r.addr
	if logged {
		a.Flags |= VringLog
	}
	return r.dev.SetVringAddr(a)
}

// forget takes the eventfds away. The ring has stopped: what is left to say of a
// descriptor that cannot be taken away is nothing.
func (r *ring) forget() {
	_ = r.dev.SetVringKick(r.index, NoFile)
	_ = r.dev.SetVringCall(r.index, NoFile)
	_ = r.dev.SetVringErr(r.index, NoFile)
	r.call.Close()
}

// life is the time from Activate to Reset.
type life struct {
	*virtio.Activation
	rings  []*ring // by queue
	failed *eventfd.FD
	done   chan struct{}
}

func newLife(a *virtio.Activation, name string) (*life, error) {
	e, err := eventfd.New()
	if err != nil {
		return nil, err
	}
	l := &life{Activation: a, rings: make([]*ring, len(a.Queues)), failed: e, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		if _, err := e.Wait(); err == nil {
			a.Fail(fmt.Errorf("kernel: %s: %w", name, ErrFailed))
		}
	}()
	return l, nil
}

// end gives back what the life holds; no ring runs.
func (l *life) end() {
	for _, r := range l.rings {
		if r != nil {
			r.forget()
		}
	}
	l.failed.Close()
	<-l.done
}

// server is what Net and Vsock have in common: their life, and the lock around it.
type server struct {
	mu     sync.Mutex
	life   *life // nil while not active
	report func(error)
}

func (s *server) tell(err error) {
	if err != nil && s.report != nil {
		s.report(err)
	}
}
