package frontend

import (
	"context"
	"net"
	"time"

	"tandem/virtio"
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
	// wrong. May be nil. It may be called from any goroutine.
	Report func(error)
}
