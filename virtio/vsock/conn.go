package vsock

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// state is how far a connection has come.
type state uint8

const (
	stateHello   state = iota // a program of the host has connected, and not yet said to which port
	stateRequest              // the guest was asked
	stateOpen                 // bytes go both ways, or one
	stateClosing              // the host's side is gone, and the guest was told: it answers with a RST
	stateEnded                // the guest knows nothing of it: what is left is a RST to send, or bytes to be read by a program
)

// What a connection has to send beside data, in the order of sending. Each is one packet, however often it was asked for:
// so what waits for the guest's buffers is bounded.
const (
	sendReset uint8 = 1 << iota
	sendRequest
	sendResponse
	sendCreditUpdate
	sendCreditRequest
	sendShutdown
)

// tuple names a connection. The CIDs are always the same two.
type tuple struct {
	guest, host uint32 // ports
}

// conn is a connection: what the guest knows of it, and the Unix socket that it leads to. The switch's lock guards it.
type conn struct {
	tuple
	state state
	slot  int
	hooks [lists]hook
	send  uint8 // sendReset and so on
	timer *time.Timer
	reply chan error // of a dial that waits; has room for its answer
	hello hello

	// The socket. Edges of its readiness are seen once: they are remembered here.
	fd       int // -1 once it is closed
	readable bool
	eof      bool // the host has sent all that it will
	hup      bool // the host's end was closed

	shut      uint32 // what the guest was told, or will be: shutReceive, shutSend
	guestShut uint32 // what it has told

	// To the guest. The counts are of bytes, modulo 2^32.
	sent      uint32
	peerTaken uint32 // fwd_cnt as the guest has it
	peerAlloc uint32 // buf_alloc
	asked     bool   // for credit

	// From the guest.
	received uint32
	taken    uint32 // our fwd_cnt: what the socket has
	told     uint32 // what the guest knows of that
	ring
}

// credit is how many bytes the guest will take. virtio 1.2, section 5.10.6.3.
func (c *conn) credit() uint32 {
	flying := c.sent - c.peerTaken
	if flying >= c.peerAlloc { // the guest may have made its buffer smaller
		return 0
	}
	return c.peerAlloc - flying
}

// grant takes in what a packet says of credit. It is false if the guest says that it has taken bytes that were never
// sent. Packets that two of the guest's processors prepare at once may be queued the other way round: an older count
// is passed over.
func (c *conn) grant(h *header) bool {
	if int32(h.fwdCnt-c.sent) > 0 {
		return false
	}
	if int32(h.fwdCnt-c.peerTaken) > 0 {
		c.peerTaken = h.fwdCnt
	}
	c.peerAlloc = h.bufAlloc
	if c.credit() > 0 {
		c.asked = false
	}
	return true
}

// post has control packets of a connection sent.
func (s *switchboard) post(c *conn, what uint8) {
	c.send |= what
	s.control.add(c)
}

// arm puts a connection on the list of those that can send to the guest, if it can.
func (s *switchboard) arm(c *conn) {
	if c.state != stateOpen || !c.readable || c.eof || c.guestShut&shutReceive != 0 {
		return
	}
	if c.credit() > 0 {
		s.ready.add(c)
		return
	}
	if !c.asked {
		c.asked = true
		s.post(c, sendCreditRequest)
	}
}

// shutdown tells the guest that the host's side sends or takes no more. When it does neither, it is done with.
func (s *switchboard) shutdown(c *conn, flags uint32) {
	if c.shut|flags != c.shut {
		c.shut |= flags
		s.post(c, sendShutdown)
	}
	if c.shut == shutBoth && c.state == stateOpen {
		c.state = stateClosing
		s.ready.remove(c)
		s.closeSocket(c)
		s.startTimer(c)
	}
}

// guestShutdown is the guest's opShutdown.
func (s *switchboard) guestShutdown(c *conn, flags uint32) {
	c.guestShut |= flags & shutBoth
	if c.guestShut == shutBoth {
		s.end(c, true, nil)
		return
	}
	if c.state != stateOpen {
		return
	}
	if c.guestShut&shutReceive != 0 {
		s.ready.remove(c)
		_ = unix.Shutdown(c.fd, unix.SHUT_RD) // the program's next write fails
		if c.hup {
			s.shutdown(c, shutBoth)
		}
	}
	if c.state == stateOpen && c.guestShut&shutSend != 0 && c.held == 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_WR) // an error is that it is gone: poll says so
	}
}

// hangUp: both directions of the socket are over. What it has still to say comes first.
func (s *switchboard) hangUp(c *conn) {
	c.hup = true
	if c.eof || c.guestShut&shutReceive != 0 {
		s.shutdown(c, shutBoth)
		return
	}
	c.readable = true
}

// end forgets a connection as far as the guest is concerned. What it sent before still goes to the program that it is
// for. cause is for those who wait for the connection.
func (s *switchboard) end(c *conn, reset bool, cause error) {
	if c.state == stateEnded {
		return
	}
	if c.state == stateHello || c.state == stateRequest {
		s.stats.Refused++
	}
	s.answer(c, cause)
	s.stopTimer(c)
	if s.table[c.tuple] == c {
		delete(s.table, c.tuple)
	}
	c.state = stateEnded
	s.ready.remove(c)
	s.control.remove(c)
	c.send = 0
	if reset {
		s.post(c, sendReset)
	}
	if c.held > 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	} else {
		s.closeSocket(c)
	}
	s.release(c)
}

// kill is end without a thought for what a program has not read yet.
func (s *switchboard) kill(c *conn, cause error) {
	s.end(c, false, cause)
	s.control.remove(c)
	c.send = 0
	s.closeSocket(c)
	s.release(c)
}

// release gives an ended connection's slot back once there is nothing left to do for it.
func (s *switchboard) release(c *conn) {
	if c.state == stateEnded && c.send == 0 && c.held == 0 && s.slots[c.slot].conn == c {
		s.closeSocket(c)
		s.slots[c.slot].conn = nil
		s.slots[c.slot].generation++
		s.free = append(s.free, c.slot)
	}
}

func (s *switchboard) closeSocket(c *conn) {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
	s.dropBuffer(c)
}

func (s *switchboard) dropBuffer(c *conn) {
	s.spares.put(c.bytes)
	c.ring = ring{}
}

// answer tells one who dials how it went. Without a cause it was the guest that refused.
func (s *switchboard) answer(c *conn, cause error) {
	if c.reply == nil {
		return
	}
	if c.state == stateRequest && cause == nil {
		cause = unix.ECONNREFUSED
	}
	c.reply <- cause
	c.reply = nil
}

// startTimer ends a connection if it is still in the same state when patience is over.
func (s *switchboard) startTimer(c *conn) {
	s.stopTimer(c)
	was := c.state
	c.timer = time.AfterFunc(s.patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.state == was && s.slots[c.slot].conn == c {
			s.end(c, was != stateHello, nil)
			_ = s.wake.Signal()
		}
	})
}

func (s *switchboard) stopTimer(c *conn) {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// deliver passes bytes of the guest's on to the socket, and keeps what does not go into it. It is false if the guest
// had no credit for them.
func (s *switchboard) deliver(c *conn, pieces [][]byte, n uint32) bool {
	// What counts is the credit that the guest knows of, whatever was read since.
	if used := c.received - c.told; used > s.bufAlloc || n > s.bufAlloc-used {
		return false
	}
	c.received += n
	s.stats.FromGuestBytes += uint64(n)
	if c.shut&shutReceive != 0 {
		c.taken = c.received // nobody reads it
		s.tellCredit(c)
		return true
	}
	if c.held == 0 {
		rest, done, err := s.write(c.fd, pieces, int(n))
		c.taken += uint32(done)
		switch {
		case err != nil:
			s.cannotWrite(c)
			return true
		case done == int(n):
			s.tellCredit(c)
			return true
		}
		pieces = rest
	}
	if c.bytes == nil {
		c.bytes = s.spares.get()
	}
	c.add(pieces)
	s.tellCredit(c)
	return true
}

// drain writes what was kept, now that the socket takes more.
func (s *switchboard) drain(c *conn) {
	var two [2][]byte
	for c.held > 0 {
		_, n, err := s.write(c.fd, c.pieces(&two), c.held)
		c.taken += uint32(n)
		c.remove(n)
		if err != nil {
			s.cannotWrite(c)
			return
		}
		if n == 0 {
			break
		}
	}
	if c.held == 0 {
		s.dropBuffer(c)
		if c.state == stateOpen && c.guestShut&shutSend != 0 {
			_ = unix.Shutdown(c.fd, unix.SHUT_WR)
		}
		s.release(c)
	}
	s.tellCredit(c)
}

// write writes pieces, of n bytes in all, until the socket takes no more, which is no error. It gives what is left: the
// list that it was given is changed.
func (s *switchboard) write(fd int, pieces [][]byte, n int) (rest [][]byte, done int, err error) {
	for done < n {
		s.writing.Reset()
		s.writing.Add(pieces)
		wrote, err := s.writing.Writev(uintptr(fd))
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return pieces, done, err
		}
		done += wrote
		pieces = skip(pieces, wrote)
	}
	return pieces, done, nil
}

// cannotWrite: the program has closed its socket, or shut it for reading.
func (s *switchboard) cannotWrite(c *conn) {
	s.dropBuffer(c)
	c.taken = c.received
	if c.state != stateOpen {
		s.release(c)
		return
	}
	s.shutdown(c, shutReceive)
}

// tellCredit tells the guest what was taken, when half of the buffer is more than it knows of. Each packet of the
// connection says so too.
func (s *switchboard) tellCredit(c *conn) {
	if (c.state == stateOpen || c.state == stateClosing) && c.taken-c.told >= s.bufAlloc/2 {
		s.post(c, sendCreditUpdate)
	}
}
