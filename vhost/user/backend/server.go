package backend

import (
	"errors"
	"net"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// Options are what a program may choose for a server.
type Options struct {
	// Observer is told of each step of each queue; nil for nobody.
	Observer queue.Observer
	// Report is told of what a front-end did wrong, and of errors that have nowhere
	// else to go. May be nil. It may be called from any goroutine.
	Report func(error)
}

// Server serves one virtio device to vhost-user front-ends, one after the other.
type Server struct{}

// New makes a server. The device is the server's alone until Close.
func New(dev virtio.Device, opt Options) (*Server, error) { return nil, errors.ErrUnsupported }

// Serve takes connections of a listening socket, one at a time, until Close, and
// gives nil then. It closes the listener.
func (s *Server) Serve(l *net.UnixListener) error { return errors.ErrUnsupported }

// ServeConn serves one front-end until it closes the connection (nil), or until an
// error ends it. It closes the connection.
func (s *Server) ServeConn(c *net.UnixConn) error { return errors.ErrUnsupported }

// Close ends Serve and ServeConn, waits for them, and leaves the device stopped.
func (s *Server) Close() error { return nil }
