package vsock

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/internal/iovec"
)

// patience is how long a guest may think about a request, a program about what it wants, and a guest about a farewell
// (Linux: VSOCK_CLOSE_TIMEOUT).
const patience = 8 * time.Second

// firstPort is the first of the host's ports that connections to the guest come from. What programs listen at is below.
const firstPort = 1 << 30

// portAny is no port (VMADDR_PORT_ANY).
const portAny = 0xffffffff

var (
	errGone    = fmt.Errorf("the connection ended: %w", ErrNotReady)
	errTooMany = fmt.Errorf("too many connections: %w", unix.ECONNREFUSED)
)

// switchboard is what connects the guest's connections with sockets. Its own goroutine waits for the sockets and for
// the guest's buffers, and sends; the goroutine of the transmit queue, or a vCPU's thread, takes in what the guest sends.
type switchboard struct {
	cid            uint64
	path           string
	maxConnections int
	bufAlloc       uint32
	patience       time.Duration
	report         func(error)

	poll     poller
	wake     *eventfd.FD   // has the goroutine look at everything again
	done     chan struct{} // closed when it has ended
	kicked   atomic.Bool   // the receive queue was
	pumped   pumped        // the goroutine's own
	unixFile os.FileInfo   // of path, as it was made

	mu        sync.Mutex // guards all that follows, and the receive queue
	closed    bool
	idle      bool     // the goroutine sleeps, or is about to
	session   *session // nil while the device is not active
	rx        receiver
	slots     []slot
	free      []int // of slots
	table     map[tuple]*conn
	listeners map[uint32]*listener
	nextPort  uint32
	control   list
	ready     list
	resets    resets
	acceptor  acceptor

	spares  spares
	writing iovec.Vector
	stats   Stats
	dropped [drops]uint64
}

// slot is a place for a connection. What epoll says of one that was there before has another generation.
type slot struct {
	conn       *conn
	generation int32
}

// session is the time from DRIVER_OK to a reset.
type session struct {
	err      error       // why the device waits for a reset
	fail     func(error) // Activation.Fail
	transmit *eventfd.FD // kick of the transmit queue, which may be waiting for room; nil if there is none
	waiting  bool        // it is
}

func newSwitchboard(spec *Spec) (*switchboard, error) {
	s := &switchboard{
		cid: spec.CID, path: spec.Path, maxConnections: spec.MaxConnections, bufAlloc: uint32(spec.Buffer),
		patience: patience, report: spec.Report,
		done:      make(chan struct{}),
		table:     make(map[tuple]*conn),
		listeners: make(map[uint32]*listener),
		nextPort:  firstPort,
		control:   list{which: onControl},
		ready:     list{which: onReady},
		acceptor:  acceptor{fd: -1},
		spares:    spares{size: spec.Buffer},
	}
	if err := s.open(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("virtio/vsock: %w", err)
	}
	go s.run()
	return s, nil
}

func (s *switchboard) open() (err error) {
	if s.wake, err = eventfd.New(); err != nil {
		return err
	}
	if err := s.poll.open(); err != nil {
		return err
	}
	if err := s.poll.add(s.wake.Fd(), unix.EPOLLIN, wakeToken, 0); err != nil {
		return err
	}
	if s.path == "" {
		return nil
	}
	if err := s.listenUnix(); err != nil {
		return fmt.Errorf("listen at %s: %w", s.path, err)
	}
	return nil
}

func (s *switchboard) closeFiles() {
	s.closeUnix()
	s.poll.close()
	if s.wake != nil {
		s.wake.Close()
	}
}

// close ends everything.
func (s *switchboard) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	for _, l := range s.listeners {
		l.end()
	}
	for i := range s.slots {
		if c := s.slots[i].conn; c != nil {
			s.kill(c, net.ErrClosed)
		}
	}
	s.mu.Unlock()
	_ = s.wake.Signal()
	<-s.done
	s.closeFiles()
}

// begin starts a session: the transmit queue is about to be served.
func (s *switchboard) begin(a *virtio.Activation) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = &session{fail: a.Fail, transmit: a.Queues[transmitQueue].Kick}
	return s.session
}

// finish ends it, and all connections. The transmit queue is not served any more.
func (s *switchboard) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detach()
	s.session = nil
	s.endAll()
}

// abandon ends what depends on a session's queues, which are left alone from here on.
func (s *switchboard) abandon(x *session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != x || x.err != nil {
		return
	}
	x.err = err
	s.detach()
	s.endAll()
}

// endAll ends all connections that the guest knows of, without a word to it, and tells whether there were any.
func (s *switchboard) endAll() (any bool) {
	for i := range s.slots {
		c := s.slots[i].conn
		if c == nil || c.state == stateHello {
			continue
		}
		any = any || c.state != stateEnded
		s.end(c, false, errGone)
		s.control.remove(c)
		c.send = 0
		s.release(c)
	}
	s.resets = resets{}
	return any
}

// attach has the receive queue used; detach gives it up.
func (s *switchboard) attach(q virtio.Queue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.poll.add(q.Kick.Fd(), unix.EPOLLIN, kickToken, 0); err != nil {
		return err
	}
	s.rx.start(q)
	return s.wake.Signal()
}

func (s *switchboard) detach() {
	if s.rx.queue.Queue != nil {
		s.poll.remove(s.rx.queue.Kick.Fd())
		s.rx.stop()
	}
}

// setTransmit says where the transmit queue can be woken; nil if there is none. All connections end.
func (s *switchboard) setTransmit(kick *eventfd.FD) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		s.session.transmit = kick
	}
	return s.endAll()
}

// stopReceive gives the receive queue up. All connections end.
func (s *switchboard) stopReceive() (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detach()
	return s.endAll()
}

// interrupt ends all connections, of which the driver is told otherwise.
func (s *switchboard) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endAll()
}

// live tells whether the guest can be reached. Called with the lock held.
func (s *switchboard) live() bool {
	return s.session != nil && s.session.err == nil && s.rx.queue.Queue != nil
}

// newConn makes a connection of a socket, which it takes over; it is closed on an error.
func (s *switchboard) newConn(fd int, st state) (*conn, error) {
	if len(s.slots)-len(s.free) >= s.maxConnections {
		unix.Close(fd)
		return nil, errTooMany
	}
	if len(s.free) == 0 {
		s.slots = append(s.slots, slot{})
		s.free = append(s.free, len(s.slots)-1)
	}
	n := len(s.free) - 1
	c := &conn{state: st, fd: fd, slot: s.free[n]}
	const edges = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP
	if err := s.poll.add(fd, edges, int32(c.slot), s.slots[c.slot].generation); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.free = s.free[:n]
	s.slots[c.slot].conn = c
	return c, nil
}

// choosePort gives a connection to the guest's port one of the host's.
func (s *switchboard) choosePort(c *conn, guest uint32) {
	for {
		c.tuple = tuple{guest: guest, host: s.nextPort}
		s.nextPort++
		if s.nextPort == portAny {
			s.nextPort = firstPort
		}
		if s.table[c.tuple] == nil {
			break
		}
	}
	s.table[c.tuple] = c
}

// ask begins a connection to a port of the guest's.
func (s *switchboard) ask(c *conn, port uint32) {
	s.stats.FromHost++
	s.choosePort(c, port)
	c.state = stateRequest
	s.post(c, sendRequest)
}

// run is the switchboard's goroutine.
func (s *switchboard) run() {
	defer close(s.done)
	for {
		if err := s.poll.wait(); err != nil {
			s.tell(err)
			return
		}
		if !s.handleEvents() {
			return
		}
		for s.service() {
		}
	}
}

func (s *switchboard) handleEvents() (goOn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	for _, e := range s.poll.seen() {
		switch e.Fd {
		case wakeToken:
		case kickToken:
			s.kicked.Store(true)
		case acceptToken:
			s.acceptor.pending = true
		default:
			if x := s.slots[e.Fd]; x.conn != nil && x.generation == e.Pad {
				s.handle(x.conn, e.Events)
			}
		}
	}
	s.accept()
	return true
}

// handle takes in what happened to a socket.
func (s *switchboard) handle(c *conn, events uint32) {
	gone := events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
		c.readable = true
	}
	switch c.state {
	case stateHello:
		s.listenTo(c)
	case stateRequest:
		if gone {
			s.end(c, true, nil)
		}
	case stateOpen:
		if events&unix.EPOLLOUT != 0 && c.held > 0 {
			s.drain(c)
		}
		if gone && c.state == stateOpen {
			s.hangUp(c)
		}
		s.arm(c)
	case stateEnded:
		if c.held > 0 {
			s.drain(c)
		}
	}
}

func (s *switchboard) tell(err error) {
	if s.report != nil {
		s.report(fmt.Errorf("virtio/vsock: %w", err))
	}
}
