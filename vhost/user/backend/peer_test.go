package backend

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/virtiotest"
)

// userBase is where the front-end has guest address 0, as it says.
const userBase = 0x7f00_0000_0000

const memSize = 1 << 20

// peer is a front-end that says what it is told to, right or wrong.
type peer struct {
	testing.TB
	*user.Conn
	mem       *memory.Space
	file      *os.File
	free      uint64
	kicks     [2]*eventfd.FD // by ring
	call, err *eventfd.FD

	mu      sync.Mutex
	reports []error
	ended   chan error // of the session
}

func newServer(t testing.TB, dev virtio.Device, p *peer, opt Options) *Server {
	t.Helper()
	opt.Report = p.report
	s, err := New(dev, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (p *peer) report(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, err)
}

// connect begins a session of a server with a front-end, whose memory is a plain
// memfd.
func connect(t testing.TB, dev virtio.Device, opt Options) (*peer, *Server) {
	t.Helper()
	p := &peer{TB: t}
	s := newServer(t, dev, p, opt)
	p.memory()
	p.join(s)
	return p, s
}

// join begins another session.
func (p *peer) join(s *Server) {
	p.Helper()
	conn, there, err := user.Pair()
	if err != nil {
		p.Fatal(err)
	}
	defer there.Close()
	c, err := net.FileConn(there)
	if err != nil {
		p.Fatal(err)
	}
	p.Conn, p.ended = conn, make(chan error, 1)
	ended := p.ended
	go func() { ended <- s.ServeConn(c.(*net.UnixConn)) }()
	p.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) memory() {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		p.Fatal(err)
	}
	p.file = os.NewFile(uintptr(fd), "guest")
	p.Cleanup(func() { p.file.Close() })
	if err := p.file.Truncate(memSize); err != nil {
		p.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, memSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { unix.Munmap(b) })
	if p.mem, err = memory.New(memory.Region{Bytes: b}); err != nil {
		p.Fatal(err)
	}
	for _, e := range []**eventfd.FD{&p.kicks[0], &p.kicks[1], &p.call, &p.err} {
		*e = p.eventFD()
	}
}

func (p *peer) eventFD() *eventfd.FD {
	e, err := eventfd.New()
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { e.Close() })
	return e
}

func (p *peer) alloc(n, align uint64) uint64 {
	p.free = (p.free + align - 1) &^ (align - 1)
	p.free += n
	return p.free - n
}

// ask sends a request that has an answer of its own.
func (p *peer) ask(r user.Request, payload user.Payload, fds ...int) user.Payload {
	p.Helper()
	answer, m := p.exchange(r, false, payload, fds...)
	m.CloseFDs()
	return answer
}

func (p *peer) exchange(r user.Request, ack bool, payload user.Payload, fds ...int) (user.Payload, *user.Message) {
	p.Helper()
	if err := p.Send(r, ack, payload, fds...); err != nil {
		p.Fatal(err)
	}
	m, err := p.Receive()
	if err != nil {
		p.Fatalf("%v: %v", r, err)
	}
	answer, err := m.DecodeReply(r, ack)
	if err != nil {
		p.Fatal(err)
	}
	return answer, m
}

// do sends a request, and wants it carried out.
func (p *peer) do(r user.Request, payload user.Payload, fds ...int) {
	p.Helper()
	if answer, _ := p.exchange(r, true, payload, fds...); answer != user.U64(0) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.Fatalf("%v %+v: refused: %v", r, payload, p.reports)
	}
}

// refused sends a request, and wants it refused.
func (p *peer) refused(r user.Request, payload user.Payload, fds ...int) {
	p.Helper()
	if answer, _ := p.exchange(r, true, payload, fds...); answer == user.U64(0) {
		p.Errorf("%v %+v: carried out", r, payload)
	}
}

// agree is what every front-end begins with.
func (p *peer) agree(features uint64, protocol user.ProtocolFeatures) {
	p.Helper()
	if err := p.Send(user.SetOwner, false, nil); err != nil {
		p.Fatal(err)
	}
	offered := uint64(p.ask(user.GetFeatures, nil).(user.U64))
	p.ask(user.GetProtocolFeatures, nil)
	if err := p.Send(user.SetProtocolFeatures, false, user.U64(protocol)); err != nil {
		p.Fatal(err)
	}
	p.do(user.SetFeatures, user.U64(offered&features|1<<virtio.FeatureVersion1|1<<user.FeatureProtocol))
}

func (p *peer) table() user.MemoryTable {
	return user.MemoryTable{{GPA: 0, Size: memSize, User: userBase}}
}

func (p *peer) setMemory() {
	p.Helper()
	p.do(user.SetMemTable, p.table(), int(p.file.Fd()))
}

// startRing makes a ring and starts it.
func (p *peer) startRing(i uint8, size uint16) *virtiotest.Ring {
	p.Helper()
	r := virtiotest.NewRing(p.mem, size, p.alloc)
	n := uint32(i)
	p.do(user.SetVringNum, user.VringState{Index: n, Num: uint32(size)})
	p.do(user.SetVringBase, user.VringState{Index: n})
	p.do(user.SetVringAddr, p.address(n, r))
	p.do(user.SetVringErr, user.VringFD{Index: i}, p.err.Fd())
	p.do(user.SetVringCall, user.VringFD{Index: i}, p.call.Fd())
	p.do(user.SetVringKick, user.VringFD{Index: i}, p.kicks[i].Fd())
	p.do(user.SetVringEnable, user.VringState{Index: n, Num: 1})
	return r
}

func (p *peer) address(i uint32, r *virtiotest.Ring) user.VringAddr {
	return user.VringAddr{Index: i, Desc: userBase + r.Desc, Avail: userBase + r.Avail, Used: userBase + r.Used}
}

// echo sends a message through a ring.
func (p *peer) echo(r *virtiotest.Ring) {
	p.Helper()
	in, out := p.alloc(16, 16), p.alloc(16, 16)
	b, _ := p.mem.Slice(in, 16)
	copy(b, "a message to you")
	r.Offer(virtiotest.Piece{GPA: in, Len: 16}, virtiotest.Piece{GPA: out, Len: 16, Write: true})
	for _, kick := range p.kicks {
		if err := kick.Signal(); err != nil {
			p.Fatal(err)
		}
	}
	p.wait("an answer", func() bool { _, ok := r.Take(); return ok })
	if b, _ = p.mem.Slice(out, 16); string(b) != "a message to you" {
		p.Errorf("%q came back", b)
	}
	p.free = in
}

// wait looks again and again until there is what it waits for.
func (p *peer) wait(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(virtiotest.Patience); !ok(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.Fatalf("waited in vain for %s: %v", what, p.reports)
		}
	}
}

// shut says that no more requests come; answers still do.
func (p *peer) shut() {
	p.Helper()
	if err := p.Conn.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		p.Fatal(err)
	}
}

// over closes the connection, and wants the session to end as it should.
func (p *peer) over() {
	p.Helper()
	p.Conn.Close()
	if err := <-p.ended; err != nil {
		p.Errorf("session: %v", err)
	}
}

// dead wants the session to have ended with an error, and the connection closed.
func (p *peer) dead() error {
	p.Helper()
	if m, err := p.Receive(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		p.Errorf("received %+v, %v, want EOF", m, err)
	}
	err := <-p.ended
	if err == nil {
		p.Error("the session ended without an error")
	}
	return err
}
