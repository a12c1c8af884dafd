package user

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The header of every message: request, flags, size, 32 bits each.
const (
	headerSize = 12

	version     = 1
	flagVersion = 3
	flagReply   = 1 << 2
	flagAck     = 1 << 3 // need_reply: REPLY_ACK
)

// Message is one message as it came.
type Message struct {
	Request uint32
	Flags   uint32
	Payload []byte
	// FDs are the descriptors that came along. They belong to whoever holds the
	// message: see TakeFD and CloseFDs.
	FDs []int
}

// Reply tells whether the message answers another one.
func (m *Message) Reply() bool { return m.Flags&flagReply != 0 }

// WantsAck tells whether the sender asks for an acknowledgement. It may only if
// REPLY_ACK was agreed upon.
func (m *Message) WantsAck() bool { return m.Flags&flagAck != 0 }

// TakeFD gives descriptor i to the caller, who closes it; -1 if there is none.
func (m *Message) TakeFD(i int) int {
	if i >= len(m.FDs) {
		return -1
	}
	fd := m.FDs[i]
	m.FDs[i] = -1
	return fd
}

// CloseFDs closes all descriptors that nobody took.
func (m *Message) CloseFDs() {
	for _, fd := range m.FDs {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	m.FDs = nil
}

// Conn sends and receives messages over a Unix stream socket. One goroutine at a
// time may receive; any number may send.
type Conn struct {
	socket *net.UnixConn

	send sync.Mutex
	out  []byte

	in  [headerSize + maxPayload]byte
	oob [64]byte
}

// NewConn takes the socket over.
func NewConn(socket *net.UnixConn) *Conn { return &Conn{socket: socket} }

// AdoptConn makes a connection of a descriptor that it takes over, also when it
// fails.
func AdoptConn(fd int) (*Conn, error) {
	socket, err := adoptSocket(fd)
	if err != nil {
		return nil, fmt.Errorf("user: adopt socket %d: %w", fd, err)
	}
	return NewConn(socket), nil
}

// Close ends the connection. A Receive that waits returns net.ErrClosed.
func (c *Conn) Close() error { return c.socket.Close() }

// CloseWrite tells the peer that no more messages come; Receive goes on.
func (c *Conn) CloseWrite() error { return c.socket.CloseWrite() }

// SetDeadline is net.Conn's, for both directions.
func (c *Conn) SetDeadline(t time.Time) error { return c.socket.SetDeadline(t) }

// SetWriteDeadline is net.Conn's.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// Send sends a request, with descriptors that stay the caller's. ack asks for an
// acknowledgement.
func (c *Conn) Send(r Request, ack bool, p Payload, fds ...int) error {
	flags := uint32(version)
	if ack {
		flags |= flagAck
	}
	return c.write(r.String(), uint32(r), flags, p, fds)
}

// SendBackend sends a back-end's request.
func (c *Conn) SendBackend(r BackendRequest, ack bool, p Payload, fds ...int) error {
	flags := uint32(version)
	if ack {
		flags |= flagAck
	}
	return c.write(r.String(), uint32(r), flags, p, fds)
}

// Answer sends the reply to a message.
func (c *Conn) Answer(m *Message, p Payload, fds ...int) error {
	return c.write("reply", m.Request, version|flagReply, p, fds)
}

func (c *Conn) write(name string, request, flags uint32, p Payload, fds []int) error {
	c.send.Lock()
	defer c.send.Unlock()
	b := order.AppendUint32(c.out[:0], request)
	b = order.AppendUint32(b, flags)
	b = order.AppendUint32(b, 0)
	if p != nil {
		b = p.appendTo(b)
	}
	order.PutUint32(b[8:], uint32(len(b)-headerSize))
	c.out = b
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// The descriptors travel with the first byte; the rest may follow.
	n, _, err := c.socket.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = c.socket.Write(b[n:])
	}
	if err != nil {
		return &ProtocolError{Op: "send", Message: name, Err: err}
	}
	return nil
}

// Receive reads one message. Its payload is valid until the next Receive, its
// descriptors are the caller's. The error is io.EOF if the peer closed the
// connection between two messages.
//
// A message whose header makes no sense ends the connection's use: where the next
// one begins is not known any more.
func (c *Conn) Receive() (*Message, error) {
	m := &Message{}
	if err := c.fill(m, c.in[:headerSize]); err != nil {
		m.CloseFDs()
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, receiveError("header", err)
	}
	m.Request, m.Flags = order.Uint32(c.in[:]), order.Uint32(c.in[4:])
	size := order.Uint32(c.in[8:])
	switch {
	case m.Flags&flagVersion != version:
		m.CloseFDs()
		return nil, receiveError("header", fmt.Errorf("%w: flags %#x", ErrVersion, m.Flags))
	case size > maxPayload:
		m.CloseFDs()
		return nil, receiveError("header", fmt.Errorf("%w: %d bytes of payload, at most %d", ErrSize, size, maxPayload))
	}
	m.Payload = c.in[headerSize : headerSize+size]
	if err := c.fill(m, m.Payload); err != nil {
		m.CloseFDs()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, receiveError("payload", err)
	}
	return m, nil
}

func receiveError(what string, err error) error {
	return &ProtocolError{Op: "receive", Message: what, Err: err}
}

// fill reads all of b, and collects the descriptors that come with it. The kernel
// installs no more of them than fit into oob, and says that it dropped others
// (MSG_CTRUNC). All have close-on-exec from the start: net sets MSG_CMSG_CLOEXEC.
func (c *Conn) fill(m *Message, b []byte) error {
	for done := 0; done < len(b); {
		n, oobn, flags, _, err := c.socket.ReadMsgUnix(b[done:], c.oob[:unix.CmsgSpace(4*MaxFDs)])
		if err := m.collect(c.oob[:max(oobn, 0)]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			n, err = 0, nil
		}
		switch {
		case err != nil:
			return err
		case flags&unix.MSG_CTRUNC != 0 || len(m.FDs) > MaxFDs:
			return fmt.Errorf("%w: more than %d", ErrDescriptors, MaxFDs)
		case n == 0 && done == 0:
			return io.EOF
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		done += n
	}
	return nil
}

// collect adds what a control message carries.
func (m *Message) collect(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Header.Level != unix.SOL_SOCKET || list[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			return err
		}
		m.FDs = append(m.FDs, fds...)
	}
	return nil
}
