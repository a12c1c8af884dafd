package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/queue"
)

// Spec says what device a back-end is to be.
type Spec struct {
	Type virtio.Type
	// Dial connects to the back-end: see Socket. It is called again whenever the
	// connection is lost.
	Dial func(context.Context) (*net.UnixConn, error)

	// Queues is how many queues the device has, those included that the back-end
	// does not serve because the front-end's own device does (a network device's
	// control queue: leave it out of the Activation).
	Queues int
	// QueueSize is the size of each, a power of two; 0 for 256.
	QueueSize uint16

	// ConfigSize is how many bytes of configuration space the back-end is asked for
	// (protocol feature CONFIG). Config is what a front-end answers by itself, for
	// devices whose back-ends have none: net, fs. One of the two, or neither.
	ConfigSize int
	Config     []byte

	// Features are the device's own features that may be offered to a driver; 0 for
	// all that the back-end has.
	Features uint64

	// Once has the device fail when the connection is lost, in place of waiting for
	// another back-end.
	Once bool
	// Timeout is how long the back-end may take for an answer; 0 for 10 seconds.
	Timeout time.Duration
	// Report is told of connections lost and made again, and of what a back-end did
	// wrong. May be nil. It may be called from any goroutine, and must not call the
	// device back.
	Report func(error)
}

const (
	defaultQueueSize = 256
	defaultTimeout   = 10 * time.Second
	maxQueues        = 256 // that the protocol can name
)

// Socket dials a listening socket.
func Socket(path string) func(context.Context) (*net.UnixConn, error) {
	return func(ctx context.Context) (*net.UnixConn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return conn.(*net.UnixConn), nil
	}
}

// Accept has the back-end connect: it takes the next connection of a listening
// socket, which stays the caller's. Nobody else may accept from it.
func Accept(l *net.UnixListener) func(context.Context) (*net.UnixConn, error) {
	return func(ctx context.Context) (*net.UnixConn, error) {
		// A context that ends sets a deadline that has passed.
		stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })
		defer func() {
			stop()
			_ = l.SetDeadline(time.Time{})
		}()
		conn, err := l.AcceptUnix()
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return conn, err
	}
}

func (s *Spec) check() error {
	switch {
	case s.Dial == nil:
		return errors.New("nowhere to connect to")
	case s.Queues < 1 || s.Queues > maxQueues:
		return fmt.Errorf("%d queues: not from 1 to %d", s.Queues, maxQueues)
	case s.QueueSize > queue.MaxSize || s.QueueSize&(s.QueueSize-1) != 0:
		return fmt.Errorf("queue size %d: not a power of two up to %d", s.QueueSize, queue.MaxSize)
	case s.ConfigSize < 0 || s.ConfigSize > user.MaxConfig:
		return fmt.Errorf("%d bytes of configuration: not from 0 to %d", s.ConfigSize, user.MaxConfig)
	case s.ConfigSize > 0 && s.Config != nil:
		return errors.New("the configuration comes from both ends")
	case s.Timeout < 0:
		return fmt.Errorf("timeout %v: less than nothing", s.Timeout)
	}
	if s.QueueSize == 0 {
		s.QueueSize = defaultQueueSize
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	return nil
}
