package vsock

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// aWhile is for how long the transmit queue waits at most to be told that there is room for answers.
const aWhile = virtio.Later(time.Second)

// serve is a virtio.Serve for the transmit queue: a chain is a packet.
func (s *switchboard) serve(_ *queue.Queue, c *queue.Chain) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch x := s.session; {
	case x == nil:
		return 0, errGone
	case x.err != nil:
		return 0, x.err
	case s.resets.full():
		x.waiting = true
		return 0, aWhile
	}
	s.packet(c)
	if s.idle && s.ready.first != nil && !s.rx.starved {
		// The packet has brought credit to one who waited for it.
		s.idle = false
		_ = s.wake.Signal()
	}
	return 0, s.flush()
}

// packet takes in a packet of the guest's. It adds one to resets at most.
func (s *switchboard) packet(c *queue.Chain) {
	s.stats.FromGuestPackets++
	if c.ReadLen < headerSize {
		s.dropped[DropShort]++
		return
	}
	var (
		b [headerSize]byte
		h header
	)
	data := take(c.Readable, b[:])
	h.decode(&b)
	if h.op == opReset {
		s.stats.ResetsReceived++
	}
	switch {
	case h.srcCID != s.cid:
		s.dropped[DropSource]++ // there is nobody to answer
	case h.dstCID != HostCID:
		s.refuse(&h) // nobody has this address
	case h.typ != typeStream:
		s.dropped[DropState]++
		s.refuse(&h)
	default:
		x := s.table[tuple{guest: h.srcPort, host: h.dstPort}]
		if x == nil {
			s.strange(&h)
			return
		}
		if why, ok := s.advance(x, &h, data, c.ReadLen-headerSize); !ok {
			s.dropped[why]++
			s.end(x, true, nil)
		}
	}
}

// refuse answers a packet that belongs to no connection. A RST has no answer.
func (s *switchboard) refuse(h *header) {
	if h.op != opReset {
		s.resets.add(h.reset())
	}
}

// strange is a packet that belongs to no connection.
func (s *switchboard) strange(h *header) {
	if h.op != opRequest {
		s.refuse(h)
		return
	}
	s.stats.FromGuest++
	c, err := s.connect(h)
	if err != nil {
		s.stats.Refused++
		s.refuse(h)
		return
	}
	c.tuple = tuple{guest: h.srcPort, host: h.dstPort}
	s.table[c.tuple] = c
	c.grant(h)
	s.post(c, sendResponse)
}

// connect makes the socket that a guest's request leads to: one for a listener of Listen, or a program's.
func (s *switchboard) connect(h *header) (*conn, error) {
	if !s.live() || h.dstPort == portAny {
		return nil, unix.ECONNREFUSED
	}
	if l := s.listeners[h.dstPort]; l != nil {
		return s.connectListener(l, Addr{CID: h.srcCID, Port: h.srcPort})
	}
	if s.path == "" {
		return nil, unix.ECONNREFUSED
	}
	fd, err := dialUnix(s.path, h.dstPort)
	if err != nil {
		return nil, err
	}
	return s.newConn(fd, stateOpen)
}

// advance takes in a packet of a connection's. If it is not one that may come now, the connection is to end.
func (s *switchboard) advance(c *conn, h *header, data [][]byte, available uint64) (Drop, bool) {
	if h.op == opReset {
		s.end(c, false, nil)
		return 0, true
	}
	if !c.grant(h) {
		return DropCredit, false
	}
	if c.state == stateRequest {
		if h.op != opResponse {
			return DropState, false
		}
		s.establish(c)
		return 0, true
	}
	switch h.op {
	case opShutdown:
		s.guestShutdown(c, h.flags)
	case opData:
		switch {
		case c.guestShut&shutSend != 0:
			return DropState, false
		case uint64(h.len) > available:
			return DropLength, false
		case !s.deliver(c, cut(data, int(h.len)), h.len):
			return DropCredit, false
		}
	case opCreditUpdate:
	case opCreditRequest:
		s.post(c, sendCreditUpdate)
	default:
		return DropState, false
	}
	s.arm(c)
	return 0, true
}

// establish is the guest's answer to a request.
func (s *switchboard) establish(c *conn) {
	s.stopTimer(c)
	c.state = stateOpen
	if c.reply != nil {
		s.answer(c, nil)
	} else if !greet(c.fd, c.host) {
		s.end(c, true, nil)
		return
	}
	s.arm(c)
}

// isRetry tells of an error whether to do the same again.
func isRetry(err error) bool { return errors.Is(err, unix.EINTR) }
