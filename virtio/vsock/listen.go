package vsock

import (
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// backlog is how many connections wait for Accept at most. More are refused.
const backlog = 128

// listener is a net.Listener.
type listener struct {
	board *switchboard
	addr  Addr
	queue chan arrival
	over  chan struct{} // closed when it is
	once  sync.Once     // for Close
}

// arrival is a connection that Accept is to give.
type arrival struct {
	fd     int
	remote Addr
}

// Listen takes the guest's connections to a port of the host's, in place of the Unix socket Path_PORT. Its Accept gives
// connections as DialContext does. It ends with its Close or the device's. Only one may listen at a port: the error of
// another wraps unix.EADDRINUSE.
func (d *Device) Listen(port uint32) (net.Listener, error) {
	addr := Addr{CID: HostCID, Port: port}
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("virtio/vsock: listen at %v: %w", addr, err)
	}
	s := d.board
	if s == nil {
		return fail(errServed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fail(net.ErrClosed)
	case port == portAny:
		return fail(unix.EADDRNOTAVAIL)
	case s.listeners[port] != nil:
		return fail(unix.EADDRINUSE)
	}
	l := &listener{board: s, addr: addr, queue: make(chan arrival, backlog), over: make(chan struct{})}
	s.listeners[port] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.over:
		return nil, l.fail(net.ErrClosed)
	default:
	}
	select {
	case <-l.over:
		return nil, l.fail(net.ErrClosed)
	case a := <-l.queue:
		c, err := newStream(a.fd, l.addr, a.remote)
		if err != nil {
			return nil, l.fail(err)
		}
		return c, nil
	}
}

func (l *listener) fail(err error) error {
	return fmt.Errorf("virtio/vsock: accept at %v: %w", l.addr, err)
}

// Close implements net.Listener. Connections that were not accepted end.
func (l *listener) Close() error {
	l.board.mu.Lock()
	l.end()
	l.board.mu.Unlock()
	return nil
}

// end is Close with the switchboard's lock held: nothing is added to the queue meanwhile.
func (l *listener) end() {
	l.once.Do(func() {
		close(l.over)
		delete(l.board.listeners, l.addr.Port)
		for {
			select {
			case a := <-l.queue:
				unix.Close(a.fd)
			default:
				return
			}
		}
	})
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// connectListener makes a connection that a listener is to accept.
func (s *switchboard) connectListener(l *listener, remote Addr) (*conn, error) {
	if len(l.queue) == cap(l.queue) {
		return nil, unix.ECONNREFUSED
	}
	mine, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	c, err := s.newConn(mine, stateOpen)
	if err != nil {
		unix.Close(theirs)
		return nil, err
	}
	l.queue <- arrival{theirs, remote} // only this adds, with the lock held: there is room
	return c, nil
}
