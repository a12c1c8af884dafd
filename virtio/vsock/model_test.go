package vsock

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// model is a guest with sockets of its own, for tests that move much: a goroutine takes packets in, and those who read
// and write wait for it. Its rules are those of Linux: a buffer for each connection, and word of what was read when the
// other side may run dry.
type model struct {
	*virtiotest.Guest
	rng *rand.Rand

	mu      sync.Mutex
	changed *sync.Cond // something that somebody may wait for
	over    bool
	socks   map[tuple]*sock
	accepts map[uint32]bool // ports that are listened at
	queued  []*sock         // connections that were accepted
	next    uint32          // port

	posts   map[uint32]virtiotest.Piece
	sends   sync.Mutex // the transmit queue
	slots   []virtiotest.Piece
	busy    map[uint32]int // by head: which slot
	done    chan struct{}
	unknown int // packets for nobody
}

const (
	modelBuffer = 128 << 10
	modelPacket = 64 << 10
	modelSlots  = 8
)

// sock is a socket of the model's.
type sock struct {
	m *model
	tuple
	open, ended    bool
	peerShut       uint32
	buffer         []byte
	received, read uint32
	told           uint32
	alloc          uint32
	sent           uint32
	peerAlloc      uint32
	peerTaken      uint32
}

// newModel starts a guest whose receive buffers have so many bytes.
func newModel(t testing.TB, kind virtiotest.Kind, dev *Device, size uint32) *model {
	t.Helper()
	m := &model{
		Guest: virtiotest.New(t, kind, dev, virtiotest.Options{}),
		rng:   rand.New(rand.NewPCG(1, 2)),
		socks: make(map[tuple]*sock), accepts: make(map[uint32]bool), next: 1000,
		posts: make(map[uint32]virtiotest.Piece), busy: make(map[uint32]int), done: make(chan struct{}),
	}
	m.changed = sync.NewCond(&m.mu)
	m.Start(virtio.RingFeatures, 256)
	for range min(256, 4<<20/size) {
		p := m.Out(size)
		m.posts[uint32(m.Rings[receiveQueue].Offer(p))] = p
	}
	for range modelSlots {
		p := m.Out(headerSize + modelPacket)
		p.Write = false
		m.slots = append(m.slots, p)
	}
	m.Kick(receiveQueue)
	go m.run()
	t.Cleanup(func() {
		m.stop()
		m.ResetDevice()
	})
	return m
}

// stop ends the goroutine.
func (m *model) stop() {
	m.end()
	<-m.done
}

// end has everybody give up.
func (m *model) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	m.changed.Broadcast()
}

func (m *model) isOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// run takes packets in.
func (m *model) run() {
	defer close(m.done)
	ring := m.Rings[receiveQueue]
	for {
		if m.isOver() {
			return
		}
		u, ok := ring.Take()
		if !ok {
			if !ring.WantCall(0) {
				m.WaitQueue(receiveQueue, 20*time.Millisecond) // to see over
			}
			continue
		}
		for more := true; more; u, more = ring.Take() {
			p := m.posts[u.Head]
			delete(m.posts, u.Head)
			b := m.Bytes(p.GPA, uint64(u.Len))
			var h header
			h.decode((*[headerSize]byte)(b))
			replies := m.packet(h, b[headerSize:])
			m.posts[uint32(ring.Offer(p))] = p
			for _, r := range replies {
				m.transmit(r, nil)
			}
		}
		m.sends.Lock() // Notify is several accesses to registers
		m.Kick(receiveQueue)
		m.sends.Unlock()
	}
}

// packet is what a packet does. It gives the answers.
func (m *model) packet(h header, data []byte) (replies []header) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.changed.Broadcast()
	t := tuple{guest: h.dstPort, host: h.srcPort}
	s := m.socks[t]
	if s == nil {
		switch {
		case h.op == opReset:
		case h.op == opRequest && m.accepts[t.guest]:
			s = m.newSock(t)
			s.open = true
			s.peerAlloc = h.bufAlloc
			m.queued = append(m.queued, s)
			return append(replies, s.header(opResponse))
		default:
			m.unknown++
			return append(replies, h.reset())
		}
		return nil
	}
	s.peerAlloc, s.peerTaken = h.bufAlloc, h.fwdCnt
	switch h.op {
	case opResponse:
		s.open = true
	case opReset:
		s.ended = true
		delete(m.socks, t)
	case opShutdown:
		s.peerShut |= h.flags
		if s.peerShut == shutBoth {
			s.ended = true
			delete(m.socks, t)
			r := s.header(opReset)
			return append(replies, r)
		}
	case opData:
		s.received += h.len
		s.buffer = append(s.buffer, data...)
		if len(s.buffer) > int(s.alloc) {
			m.Errorf("connection %+v: %d bytes in a buffer of %d", t, len(s.buffer), s.alloc)
		}
	case opCreditRequest:
		replies = append(replies, s.header(opCreditUpdate))
	}
	return replies
}

func (m *model) newSock(t tuple) *sock {
	s := &sock{m: m, tuple: t, alloc: modelBuffer}
	m.socks[t] = s
	return s
}

// header is called with the lock held.
func (s *sock) header(op uint16) header {
	s.told = s.read
	return header{
		srcCID: guestCID, dstCID: HostCID, srcPort: s.guest, dstPort: s.host, typ: typeStream, op: op,
		bufAlloc: s.alloc, fwdCnt: s.read,
	}
}

// transmit sends a packet, and waits only for a free slot.
func (m *model) transmit(h header, data []byte) {
	m.sends.Lock()
	defer m.sends.Unlock()
	ring := m.Rings[transmitQueue]
	for {
		for {
			u, ok := ring.Take()
			if !ok {
				break
			}
			m.slots = append(m.slots, virtiotest.Piece{GPA: m.slotOf(u.Head)})
		}
		if len(m.slots) > 0 {
			break
		}
		for end := time.Now().Add(virtiotest.Patience); !ring.WantCall(0); {
			if m.isOver() {
				return
			}
			if !m.WaitQueue(transmitQueue, 20*time.Millisecond) && time.Now().After(end) {
				m.Errorf("no call from the transmit queue")
				return
			}
		}
	}
	p := m.slots[len(m.slots)-1]
	m.slots = m.slots[:len(m.slots)-1]
	b := m.Bytes(p.GPA, headerSize+modelPacket)
	h.len = uint32(len(data))
	h.encode((*[headerSize]byte)(b))
	copy(b[headerSize:], data)
	pieces := []virtiotest.Piece{{GPA: p.GPA, Len: headerSize}}
	for at, left := p.GPA+headerSize, uint32(len(data)); left > 0; {
		n := min(left, 16<<10)
		pieces = append(pieces, virtiotest.Piece{GPA: at, Len: n})
		at, left = at+uint64(n), left-n
	}
	m.busy[uint32(ring.Offer(pieces...))] = int(p.GPA)
	m.Kick(transmitQueue)
}

func (m *model) slotOf(head uint32) uint64 {
	gpa := m.busy[head]
	delete(m.busy, head)
	return uint64(gpa)
}

// dial connects to a port of the host's.
func (m *model) dial(port uint32) (*sock, error) {
	m.mu.Lock()
	s := m.newSock(tuple{guest: m.next, host: port})
	m.next++
	h := s.header(opRequest)
	m.mu.Unlock()
	m.transmit(h, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	for !s.open && !s.ended && !m.over {
		m.changed.Wait()
	}
	if !s.open {
		return nil, errors.New("refused")
	}
	return s, nil
}

// accept waits for a connection to a port that is listened at.
func (m *model) accept() (*sock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queued) == 0 {
		if m.over {
			return nil, io.ErrClosedPipe
		}
		m.changed.Wait()
	}
	s := m.queued[0]
	m.queued = m.queued[1:]
	return s, nil
}

func (m *model) listen(port uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accepts[port] = true
}

// Read implements io.Reader.
func (s *sock) Read(p []byte) (int, error) {
	m := s.m
	m.mu.Lock()
	for len(s.buffer) == 0 && !s.ended && s.peerShut&shutSend == 0 && !m.over {
		m.changed.Wait()
	}
	n := copy(p, s.buffer)
	s.buffer = s.buffer[n:]
	if len(s.buffer) == 0 {
		s.buffer = nil
	}
	s.read += uint32(n)
	// When the other side may run dry.
	tell := s.alloc-(s.received-s.told) < s.alloc/2 && s.told != s.read && !s.ended
	var h header
	if tell {
		h = s.header(opCreditUpdate)
	}
	m.mu.Unlock()
	if tell {
		m.transmit(h, nil)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write implements io.Writer: in packets of any size that credit allows.
func (s *sock) Write(p []byte) (done int, err error) {
	m := s.m
	for done < len(p) {
		m.mu.Lock()
		for s.peerAlloc-(s.sent-s.peerTaken) == 0 && !s.ended && s.peerShut&shutReceive == 0 && !m.over {
			m.changed.Wait()
		}
		if s.ended || s.peerShut&shutReceive != 0 || m.over {
			m.mu.Unlock()
			return done, io.ErrClosedPipe
		}
		n := min(len(p)-done, int(s.peerAlloc-(s.sent-s.peerTaken)), modelPacket)
		s.sent += uint32(n)
		h := s.header(opData)
		m.mu.Unlock()
		m.transmit(h, p[done:done+n])
		done += n
	}
	return done, nil
}

// shutdown ends directions.
func (s *sock) shutdown(flags uint32) {
	s.m.mu.Lock()
	h := s.header(opShutdown)
	ended := s.ended
	s.m.mu.Unlock()
	h.flags = flags
	if !ended {
		s.m.transmit(h, nil)
	}
}

// Close says good-bye, and waits for the answer.
func (s *sock) Close() error {
	s.shutdown(shutBoth)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for !s.ended && !s.m.over {
		s.m.changed.Wait()
	}
	return nil
}
