package backend

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/queue"
)

// ring is what a front-end said of one vring.
type ring struct {
	session *session
	index   int

	size    uint16
	base    uint16 // where it stopped
	addr    user.VringAddr
	hasAddr bool
	enabled bool

	// kickFD is the front-end's eventfd, -1 for none. Only duplicates of it are
	// waited on: see stop.
	kickFD int

	// What there is while the ring runs.
	queue *queue.Queue
	kick  *eventfd.FD

	// The device's goroutines use these two.
	call, err atomic.Pointer[eventfd.FD]
}

var _ queue.Interrupt = (*ring)(nil)

func newRing(s *session, i int) *ring {
	return &ring{session: s, index: i, size: s.server.sizes[i], kickFD: -1}
}

// Signal calls the driver: implements queue.Interrupt. It never waits: the eventfd
// is the front-end's too, and may be full.
func (r *ring) Signal() {
	if e := r.call.Load(); e != nil {
		_ = e.Signal() // closed: the front-end sent another one, and is called with it
		return
	}
	if r.session.has(user.ProtocolInbandNotifications) {
		r.session.sendOnChannel(user.BackendVringCall, user.VringState{Index: uint32(r.index)})
	}
}

// Event implements queue.Interrupt. The eventfd may be replaced at any time.
func (r *ring) Event() *eventfd.FD { return nil }

func (r *ring) signalError() {
	if e := r.err.Load(); e != nil {
		_ = e.Signal()
		return
	}
	if r.session.has(user.ProtocolInbandNotifications) {
		r.session.sendOnChannel(user.BackendVringErr, user.VringState{Index: uint32(r.index)})
	}
}

// setFD takes an eventfd over; -1 if none came.
func (r *ring) setFD(request user.Request, fd int) error {
	if fd >= 0 {
		if err := checkEventFD(fd); err != nil {
			unix.Close(fd)
			return err
		}
	}
	if request == user.SetVringKick {
		if fd < 0 {
			return errors.New("a ring that is to be polled: not supported")
		}
		r.session.stopRing(r)
		r.dropKick()
		r.kickFD = fd
		return nil
	}
	var e *eventfd.FD
	if fd >= 0 {
		var err error
		if e, err = eventfd.Adopt(fd); err != nil {
			return err
		}
	}
	to := &r.call
	if request == user.SetVringErr {
		to = &r.err
	}
	if old := to.Swap(e); old != nil {
		old.Close()
	}
	if request == user.SetVringCall && e != nil {
		// What was to be signalled on the old one may be lost.
		_ = e.Signal()
	}
	return nil
}

// checkEventFD refuses what is not an eventfd: to read from a pipe, a terminal or a
// file on a network could take for ever, or have effects.
func checkEventFD(fd int) error {
	what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("is it an eventfd? %w", err)
	}
	if what != "anon_inode:[eventfd]" {
		return fmt.Errorf("%s: not an eventfd", what)
	}
	return nil
}

// kickInBand is a kick by message. The first one starts a ring that has no eventfd.
func (r *ring) kickInBand() error {
	if r.kickFD < 0 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return err
		}
		r.kickFD = fd
	}
	if r.kick != nil {
		return r.kick.Signal()
	}
	return nil // a ring that starts looks by itself
}

func (r *ring) dropKick() {
	if r.kickFD >= 0 {
		unix.Close(r.kickFD)
		r.kickFD = -1
	}
}

// reset forgets all that a front-end said. The ring is stopped.
func (r *ring) reset() {
	r.close()
	r.size, r.base, r.addr, r.hasAddr, r.enabled = r.session.server.sizes[r.index], 0, user.VringAddr{}, false, false
}

func (r *ring) close() {
	r.dropKick()
	for _, p := range []*atomic.Pointer[eventfd.FD]{&r.call, &r.err} {
		if e := p.Swap(nil); e != nil {
			e.Close()
		}
	}
}

// ready tells whether the ring is to run. The specification has a ring start with
// its first kick; one that has all it needs, and is enabled, may be looked at sooner.
func (r *ring) ready() bool {
	s := r.session
	enabled := r.enabled || s.features&(1<<user.FeatureProtocol) == 0
	return enabled && s.agreed && r.hasAddr && r.kickFD >= 0 && s.table.space != nil
}

// make makes the device's side of the ring.
//
// It begins where the used index stands in memory, whatever the front-end said as
// base: what lies between the two was taken by a back-end that is gone, and has not
// been answered. With an area for requests in flight it is known which those are;
// without, they are the next ones in the available ring, which is right for devices
// that answer in order.
func (r *ring) make() (virtio.Queue, error) {
	s := r.session
	has := func(bit uint) bool { return s.features&(1<<bit) != 0 }
	cfg := queue.Config{
		Index: r.index, Size: r.size, Start: r.base,
		Indirect: has(virtio.FeatureIndirectDesc), EventIdx: has(virtio.FeatureEventIdx),
		Interrupt: r, Observer: s.server.opt.Observer,
	}
	n := uint64(r.size)
	var err error
	if cfg.Marker, err = r.newMarker(); err != nil {
		return virtio.Queue{}, err
	}
	for _, a := range []struct {
		name       string
		user, size uint64
		gpa        *uint64
	}{
		{"descriptor table", r.addr.Desc, 16 * n, &cfg.Desc},
		{"available ring", r.addr.Avail, 6 + 2*n, &cfg.Avail},
		{"used ring", r.addr.Used, 6 + 8*n, &cfg.Used},
	} {
		if *a.gpa, err = s.table.guest(a.user, a.size); err != nil {
			return virtio.Queue{}, fmt.Errorf("%s: %w", a.name, err)
		}
	}
	q, err := queue.New(s.table.space, cfg)
	if err != nil {
		return virtio.Queue{}, err
	}
	cfg.Start = q.UsedIndex()
	if s.inflight != nil {
		track, err := s.inflight.Queue(r.index, r.size)
		if err != nil {
			return virtio.Queue{}, err
		}
		cfg.Resume, cfg.Tracker = track.Recover(cfg.Start), track
	}
	if q, err = queue.New(s.table.space, cfg); err != nil {
		return virtio.Queue{}, err
	}
	fd, err := unix.FcntlInt(uintptr(r.kickFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return virtio.Queue{}, fmt.Errorf("duplicate kick: %w", err)
	}
	if r.kick, err = eventfd.Adopt(fd); err != nil {
		return virtio.Queue{}, err
	}
	r.queue = q
	return virtio.Queue{Queue: q, Kick: r.kick}, nil
}

// hangUp ends the waiting for kicks. The device would wake its goroutine with one,
// but the front-end has the same eventfd, and could take that away again.
func (r *ring) hangUp() {
	if r.kick != nil {
		r.kick.Close()
		r.kick = nil
	}
}

// stopped notes where the ring stopped.
func (r *ring) stopped() {
	r.hangUp()
	if r.queue != nil {
		r.base = r.queue.Next()
		r.queue = nil
	}
}
