package console

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// ErrConnected is why a stream is refused: a port has one end on the host.
var ErrConnected = errors.New("somebody is connected")

// Port is one port of a Device. Its methods may be called at any time from any goroutine.
type Port struct {
	device *Device
	number int
	spec   PortSpec

	mu        sync.Mutex // guards what follows; taken before a Connection's
	conn      *Connection
	unplugged bool
	driver    bool    // it wants to hear of ports
	known     bool    // it has heard of this one
	ready     bool    // it has the port
	open      bool    // the guest's end is open
	pending   pending // what the driver has to be told
}

func newPort(d *Device, number int, spec PortSpec) *Port {
	return &Port{device: d, number: number, spec: spec}
}

// Name is the port's name.
func (p *Port) Name() string { return p.spec.Name }

// Open tells whether a program in the guest has the port open. A console always is, once its driver is there.
func (p *Port) Open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Connect opens the host's end of the port. in is read as fast as the guest takes it, and out gets what the guest
// sends; either may be nil. Neither is closed. The end of in does not end the connection: see Connection.Ended.
func (p *Port) Connect(in io.Reader, out io.Writer) (*Connection, error) {
	p.mu.Lock()
	if p.conn != nil || p.unplugged {
		defer p.mu.Unlock()
		err := ErrConnected
		if p.unplugged {
			err = errors.New("unplugged")
		}
		return nil, fmt.Errorf("virtio/console: connect port %d: %w", p.number, err)
	}
	c := newConnection(p, in, out)
	c.setReady(p.open)
	p.conn = c
	if p.ready {
		p.pending |= tellOpened
	}
	p.mu.Unlock()
	c.start()
	p.device.wake(controlReceiveQueue)
	return c, nil
}

// disconnect closes the host's end.
func (p *Port) disconnect(c *Connection) {
	p.mu.Lock()
	if p.conn == c {
		p.conn = nil
		switch {
		case p.pending&tellOpened != 0:
			p.pending &^= tellOpened
		case p.ready:
			p.pending |= tellClosed
		}
	}
	p.mu.Unlock()
	p.device.wake(controlReceiveQueue)
	p.device.wake(receiveQueue(p.number) + 1) // what the guest sends is nobody's now
}

// Serve connects the listener's clients to the port, one at a time, until the listener is closed. A client that ends
// its side has ended the connection.
func (p *Port) Serve(l net.Listener) error {
	for {
		stream, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("virtio/console: port %d: %w", p.number, err)
		}
		c, err := p.Connect(stream, stream)
		if err != nil {
			stream.Close() // the port is another's, or is not there
			continue
		}
		<-c.Ended()
		// A client that does not read must not keep the next one waiting.
		_ = stream.SetWriteDeadline(time.Now().Add(Patience))
		_ = c.Close()
		stream.Close()
	}
}

// Unplug takes the port away from the guest (PORT_REMOVE), and Plug gives it back. Ports of a single console stay.
func (p *Port) Unplug() error { return p.plug(false) }

// Plug gives the port back to the guest: see Unplug.
func (p *Port) Plug() error { return p.plug(true) }

func (p *Port) plug(in bool) error {
	if p.device.spec.Single {
		return fmt.Errorf("virtio/console: port %d: the only one of its device", p.number)
	}
	p.mu.Lock()
	c := p.conn
	if p.unplugged == in {
		p.unplugged = !in
		switch {
		case !in && p.known:
			p.pending = tellRemove
		case !in:
			p.pending &^= tellAdd
		case p.driver:
			p.pending |= tellAdd
		}
		if !in {
			p.known, p.ready = false, false
			p.setOpen(false)
		}
	}
	p.mu.Unlock()
	var err error
	if c != nil && !in {
		err = c.Close()
	}
	p.device.wake(controlReceiveQueue)
	return err
}

func (p *Port) connection() *Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// setOpen says whether the guest takes input. Called with mu held.
func (p *Port) setOpen(open bool) {
	p.open = open
	if p.conn != nil {
		p.conn.setReady(open)
	}
}

// activate begins with a new driver, deactivate ends with one.
func (p *Port) activate(open bool) {
	p.mu.Lock()
	p.setOpen(open)
	p.mu.Unlock()
	p.device.wake(receiveQueue(p.number))
}

func (p *Port) deactivate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setOpen(false)
	p.driver, p.known, p.ready, p.pending = false, false, false, 0
}

// serveReceive is the virtio.Serve of the port's receiveq.
func (p *Port) serveReceive(q *queue.Queue, chain *queue.Chain) (uint32, error) {
	if chain.WriteLen == 0 {
		return 0, q.Broken(chain, "a buffer for input without room for a byte")
	}
	c := p.connection()
	if c == nil {
		return 0, idle
	}
	n := c.take(chain.Writable)
	if n == 0 {
		return 0, idle
	}
	return uint32(n), nil
}

// transmitter serves a port's transmitq.
type transmitter struct {
	port *Port
	conn *Connection // that got the first bytes of the chain in hand
	done int         // how many of them
}

// serve is a virtio.Serve. A chain that there is no room for is served again, from where it stopped.
func (t *transmitter) serve(_ *queue.Queue, chain *queue.Chain) (uint32, error) {
	c := t.port.connection()
	if c == nil || t.done > 0 && c != t.conn {
		t.done = 0
		return 0, nil // half a message is of no use to the next one
	}
	t.conn = c
	skip := t.done
	for _, p := range chain.Readable {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p, skip = p[skip:], 0
		n := c.put(p)
		t.done += n
		if n == len(p) {
			continue
		}
		if !t.port.spec.Console {
			return 0, idle
		}
		if left := Patience - c.stalled(); left > 0 {
			return 0, virtio.Later(left)
		}
		break
	}
	t.done = 0
	return 0, nil
}
