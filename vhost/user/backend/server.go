package backend

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/queue"
)

// maxQueues is how many rings the protocol can name.
const maxQueues = 256

// ErrClosed is why a server serves nobody any more.
var ErrClosed = errors.New("backend: server closed")

// Options are what a program may choose for a server.
type Options struct {
	// InBand offers kicks and calls by message, for a front-end that has no
	// eventfds. Others agree to that without meaning it (QEMU does).
	InBand bool
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of what a front-end did wrong, and of errors that have nowhere
	// else to go. May be nil. It may be called from any goroutine.
	Report func(error)
}

// Server serves one virtio device to vhost-user front-ends, one after the other.
type Server struct {
	dev   virtio.Device
	opt   Options
	sizes []uint16

	serving sync.Mutex // held by the one front-end that is served

	mu       sync.Mutex // guards what follows
	closed   bool
	conn     *user.Conn
	listener *net.UnixListener
}

// New makes a server. The device is the server's alone until Close.
func New(dev virtio.Device, opt Options) (*Server, error) {
	sizes := dev.QueueSizes()
	if len(sizes) == 0 || len(sizes) > maxQueues {
		return nil, fmt.Errorf("backend: serve %v: %d queues: not from 1 to %d", dev.Type(), len(sizes), maxQueues)
	}
	return &Server{dev: dev, opt: opt, sizes: sizes}, nil
}

// Serve takes connections of a listening socket, one at a time, until Close, and
// gives nil then. It closes the listener. Front-ends that come while one is served
// wait in the socket's backlog.
func (s *Server) Serve(l *net.UnixListener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listener = l
	s.mu.Unlock()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			return fmt.Errorf("backend: serve %v: %w", s.dev.Type(), err)
		}
		if err := s.ServeConn(conn); err != nil {
			if errors.Is(err, ErrClosed) {
				return nil
			}
			s.report(err)
		}
	}
}

// ServeConn serves one front-end until it closes the connection, which is no error,
// or until an error or Close ends it. It closes the connection. When it returns, the
// device is stopped and none of the front-end's memory is mapped.
func (s *Server) ServeConn(c *net.UnixConn) error {
	s.serving.Lock()
	defer s.serving.Unlock()
	conn := user.NewConn(c)
	defer conn.Close()
	if !s.setConn(conn) {
		return ErrClosed
	}
	defer s.setConn(nil)
	session := newSession(s, conn)
	defer session.end()
	err := session.run()
	if s.isClosed() {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("backend: serve %v: %w", s.dev.Type(), err)
	}
	return nil
}

// setConn tells Close what to close; false if it was called already.
func (s *Server) setConn(c *user.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
	return !s.closed
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends Serve and ServeConn and waits until the device is stopped. The device
// stays the caller's to close.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		s.listener.Close()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.mu.Unlock()
	s.serving.Lock()
	defer s.serving.Unlock()
	return nil
}

func (s *Server) report(err error) {
	if s.opt.Report != nil {
		s.opt.Report(err)
	}
}
