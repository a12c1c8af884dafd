package vsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/internal/iovec"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

const (
	// quantum is how much a connection may send before it is another one's turn.
	quantum = 64 << 10
	// handSize is how many of the driver's buffers are filled at once. Linux's have 4 KiB.
	handSize = 32
	// turns is how many connections have their turn before others get the lock.
	turns = 8
)

// receiver is the receive queue: packets to the guest. The switchboard's lock guards it.
type receiver struct {
	queue   virtio.Queue // none while Queue.Queue is nil
	starved bool         // there are no buffers: the next ones come with a kick

	// The hand: buffers that were popped and not pushed yet, in a ring, oldest first.
	hand  [handSize]queue.Chain
	first int
	held  int
	room  uint64 // for data, in all of them

	reading iovec.Vector
	encoded [headerSize]byte
}

func (r *receiver) start(q virtio.Queue) {
	r.queue, r.starved = q, false
	r.first, r.held, r.room = 0, 0, 0
	q.DisableKicks()
}

func (r *receiver) stop() {
	r.queue.Rewind(uint16(r.held))
	r.queue, r.held, r.room = virtio.Queue{}, 0, 0
}

// fill takes buffers into the hand until there is room for so many bytes, or no more buffers. With none at all, the next
// ones are waited for. It tells whether there are any.
func (r *receiver) fill(want uint64) (bool, error) {
	for r.held < handSize && (r.held == 0 || r.room < want) {
		c := &r.hand[(r.first+r.held)%handSize]
		ok, err := r.queue.Pop(c)
		if err != nil {
			return false, err
		}
		if !ok {
			if r.held > 0 {
				break
			}
			if r.starved {
				return false, nil
			}
			r.starved = true
			if r.queue.EnableKicks() {
				r.queue.DisableKicks()
				r.starved = false
				continue
			}
			return false, nil
		}
		if c.WriteLen <= headerSize {
			return false, r.queue.Broken(c, "a receive buffer without room for a header and a byte")
		}
		if r.starved {
			r.queue.DisableKicks()
			r.starved = false
		}
		r.held++
		r.room += c.WriteLen - headerSize
	}
	return true, nil
}

// emit fills the oldest buffer of the hand with a header, behind which the data is already. The driver sees it with the
// next Publish.
func (r *receiver) emit(h *header) {
	c := &r.hand[r.first]
	h.encode(&r.encoded)
	put(c.Writable, r.encoded[:])
	r.queue.Push(c.Head, headerSize+h.len)
	r.room -= c.WriteLen - headerSize
	r.first = (r.first + 1) % handSize
	r.held--
}

// scatter prepares to read so many bytes into the hand, each buffer's behind where its header comes.
func (r *receiver) scatter(budget uint64) {
	r.reading.Reset()
	for i := 0; i < r.held && budget > 0; i++ {
		header := uint64(headerSize)
		for _, p := range r.hand[(r.first+i)%handSize].Writable {
			skipped := min(header, uint64(len(p)))
			header -= skipped
			p = p[skipped:]
			p = p[:min(budget, uint64(len(p)))]
			if len(p) > 0 {
				r.reading.AddOne(p)
				budget -= uint64(len(p))
			}
		}
	}
}

// resets are RSTs for packets that belong to no connection. When they are many, the transmit queue waits for the guest
// to give buffers for them (virtio 1.2, section 5.10.6.1).
type resets struct {
	list  [128]header
	first int
	n     int
}

func (r *resets) full() bool { return r.n == len(r.list) }

func (r *resets) add(h header) {
	r.list[(r.first+r.n)%len(r.list)] = h
	r.n++
}

func (r *resets) next() *header {
	h := &r.list[r.first]
	r.first = (r.first + 1) % len(r.list)
	r.n--
	return h
}

// service sends what there is to send, for a while, and tells whether there is more. Only the switchboard's goroutine
// calls it.
//
// Guest memory that belongs to another process may have nothing behind it any more: the device needs a reset then.
func (s *switchboard) service() (more bool) {
	p := &s.pumped
	if err := memory.Guard(s.pump); err != nil {
		p.err = err
	}
	if p.err != nil && p.session != nil {
		s.abandon(p.session, p.err)
		p.session.fail(p.err)
		return false
	}
	return p.more
}

// pumped is what pump has to say.
type pumped struct {
	session *session
	more    bool
	err     error
}

// pump sends control packets, and gives each connection that has data its turn.
func (s *switchboard) pump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.pumped
	*p = pumped{session: s.session}
	s.idle = false
	defer func() { s.idle = !p.more }()
	if !s.live() {
		return
	}
	if s.kicked.Swap(false) && s.rx.starved {
		s.rx.queue.Kicked()
	}
	// Buffers are looked at when they are there, not when they are needed: a driver hears soon that it broke its ring.
	if _, p.err = s.rx.fill(quantum); p.err != nil {
		return
	}
	for range turns {
		// What is first has to go first, such as a response before data.
		if p.err = s.flush(); p.err != nil || s.control.first != nil || s.resets.n > 0 {
			return
		}
		c := s.ready.first
		if c == nil {
			return
		}
		var ok bool
		if ok, p.err = s.turn(c); p.err != nil || !ok {
			return
		}
	}
	p.more = true
}

// flush sends packets that carry no data, as many as there are buffers for.
func (s *switchboard) flush() error {
	if !s.live() {
		return nil
	}
	sent := false
	for s.resets.n > 0 || s.control.first != nil {
		ok, err := s.rx.fill(1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		sent = true
		if s.resets.n > 0 {
			s.stats.ResetsSent++
			s.emit(s.resets.next())
			continue
		}
		s.emitControl(s.control.first)
	}
	if sent {
		s.rx.queue.Publish()
	}
	if x := s.session; x.waiting && !s.resets.full() && x.transmit != nil {
		x.waiting = false
		_ = x.transmit.Signal()
	}
	return nil
}

// emitControl sends the first of what a connection has posted.
func (s *switchboard) emitControl(c *conn) {
	what := c.send & -c.send
	c.send &^= what
	if c.send == 0 {
		s.control.remove(c)
	}
	h := s.headerOf(c, 0)
	switch what {
	case sendReset:
		h.op = opReset
		s.stats.ResetsSent++
	case sendRequest:
		h.op = opRequest
	case sendResponse:
		h.op = opResponse
	case sendCreditUpdate:
		h.op = opCreditUpdate
	case sendCreditRequest:
		h.op = opCreditRequest
	case sendShutdown:
		h.op, h.flags = opShutdown, c.shut
	}
	s.emit(&h)
	s.release(c)
}

// headerOf is the header of a packet that is about to be sent.
func (s *switchboard) headerOf(c *conn, op uint16) header {
	c.told = c.taken
	return header{
		srcCID: HostCID, dstCID: s.cid, srcPort: c.host, dstPort: c.guest, typ: typeStream, op: op,
		bufAlloc: s.bufAlloc, fwdCnt: c.taken,
	}
}

func (s *switchboard) emit(h *header) {
	s.stats.ToGuestPackets++
	s.rx.emit(h)
}

// turn reads from a connection's socket into the hand. It is false when there are no buffers.
func (s *switchboard) turn(c *conn) (bool, error) {
	credit := uint64(c.credit())
	if credit == 0 {
		s.ready.remove(c)
		s.arm(c)
		return true, nil
	}
	budget := min(credit, quantum)
	if ok, err := s.rx.fill(budget); err != nil || !ok {
		return false, err
	}
	s.rx.scatter(budget)
	n, err := s.rx.reading.Readv(uintptr(c.fd))
	switch {
	case n > 0:
		s.give(c, uint64(n))
		s.ready.rotate(c)
	case errors.Is(err, unix.EAGAIN):
		c.readable = false
		s.ready.remove(c)
	case errors.Is(err, unix.EFAULT):
		return false, fmt.Errorf("read into guest memory: %w", err)
	default:
		c.readable, c.eof = false, true
		s.ready.remove(c)
		// What closes a socket ends both of its directions at once: there is no need to tell the guest twice.
		flags := uint32(shutSend)
		if err != nil || c.hup || hungUp(c.fd) {
			flags = shutBoth
		}
		s.shutdown(c, flags)
	}
	return true, nil
}

// give sends n bytes that are in the hand.
func (s *switchboard) give(c *conn, n uint64) {
	s.stats.ToGuestBytes += n
	c.sent += uint32(n)
	for n > 0 {
		h := s.headerOf(c, opData)
		h.len = uint32(min(n, s.rx.hand[s.rx.first].WriteLen-headerSize))
		n -= uint64(h.len)
		s.emit(&h)
	}
	s.rx.queue.Publish()
}

// hungUp tells of a socket whether both of its directions are over.
func hungUp(fd int) bool {
	p := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}
