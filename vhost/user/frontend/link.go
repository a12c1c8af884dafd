package frontend

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tandem/vhost/user"
)

// Errors of a back-end.
var (
	// ErrRefused says that the back-end answered a request with a failure.
	ErrRefused = errors.New("refused by the back-end")
	// ErrLost says that the connection is gone.
	ErrLost = errors.New("connection to the back-end lost")
	// ErrFailed says that the back-end cannot go on, such as for a ring that the
	// driver broke. The back-end alone knows the reason.
	ErrFailed = errors.New("the back-end has failed")
	// ErrTimeout says that the back-end did not answer in time.
	ErrTimeout = errors.New("no answer from the back-end")
)

// link is one connection to a back-end, and what was agreed upon over it. A
// goroutine reads all that comes, so that the end of the connection is seen at once.
type link struct {
	conn     *user.Conn
	timeout  time.Duration
	features uint64 // what the back-end offers
	protocol user.ProtocolFeatures

	mu     sync.Mutex
	expect chan *user.Message // where the next reply goes; nil if none is due

	dead chan struct{} // closed when the reader has ended; err is set then
	err  error
}

// newLink starts the reader. lost is called in its goroutine when the connection has
// ended.
func newLink(socket *net.UnixConn, timeout time.Duration, lost func(*link)) *link {
	l := &link{conn: user.NewConn(socket), timeout: timeout, dead: make(chan struct{})}
	go func() {
		l.err = l.read()
		l.conn.Close()
		close(l.dead)
		lost(l)
	}()
	return l
}

// close ends the connection. The reader sees it.
func (l *link) close() { l.conn.Close() }

func (l *link) read() error {
	for {
		m, err := l.conn.Receive()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		// The connection's buffer is used again for the next message.
		m.Payload = append([]byte(nil), m.Payload...)
		l.mu.Lock()
		to := l.expect
		l.expect = nil
		l.mu.Unlock()
		if to == nil {
			m.CloseFDs()
			return fmt.Errorf("%w: an answer to nothing: %v", ErrLost, user.Request(m.Request))
		}
		to <- m
	}
}

// call sends a request and waits for the answer, where there is one: its own, or the
// acknowledgement that REPLY_ACK gives. One goroutine at a time may call. The
// caller closes the descriptors of the message that it gets, which may be nil.
func (l *link) call(r user.Request, p user.Payload, fds ...int) (user.Payload, *user.Message, error) {
	replies := r.Replies(l.protocol)
	ack := !replies && l.protocol.Has(user.ProtocolReplyAck)
	var reply chan *user.Message
	if ack || replies {
		reply = make(chan *user.Message, 1)
		l.mu.Lock()
		l.expect = reply
		l.mu.Unlock()
	}
	err := l.conn.SetWriteDeadline(time.Now().Add(l.timeout))
	if err == nil {
		err = l.conn.Send(r, ack, p, fds...)
	}
	if err != nil {
		return nil, nil, l.broken(r, err)
	}
	if reply == nil {
		return nil, nil, nil
	}
	m, err := l.wait(reply)
	if err != nil {
		return nil, nil, l.broken(r, err)
	}
	payload, err := m.DecodeReply(r, ack)
	if err != nil {
		m.CloseFDs()
		return nil, nil, l.broken(r, err)
	}
	if ack && payload != user.U64(0) {
		m.CloseFDs()
		return nil, nil, fmt.Errorf("frontend: %v: %w (%d)", r, ErrRefused, payload)
	}
	return payload, m, nil
}

func (l *link) wait(reply chan *user.Message) (*user.Message, error) {
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case m := <-reply:
		return m, nil
	case <-l.dead:
		select {
		case m := <-reply: // it came before the end
			return m, nil
		default:
			return nil, l.err
		}
	case <-timer.C:
		return nil, fmt.Errorf("%w in %v", ErrTimeout, l.timeout)
	}
}

// broken ends the connection: an answer that is missing or makes no sense leaves the
// two ends without a common state.
func (l *link) broken(r user.Request, err error) error {
	l.close()
	if !errors.Is(err, ErrLost) {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	return fmt.Errorf("frontend: %v: %w", r, err)
}

// do is call for requests without an answer of their own.
func (l *link) do(r user.Request, p user.Payload, fds ...int) error {
	_, m, err := l.call(r, p, fds...)
	if m != nil {
		m.CloseFDs()
	}
	return err
}

// number is call for requests that are answered with a number.
func (l *link) number(r user.Request) (uint64, error) {
	p, _, err := l.call(r, nil)
	if err != nil {
		return 0, err
	}
	return uint64(p.(user.U64)), nil
}
