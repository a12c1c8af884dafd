package backend

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
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

const all = protocolFeatures

func TestSession(t *testing.T) {
	p, s := connect(t, virtiotest.NewEcho(2, 64), Options{})
	for range 3 { // one front-end after the other
		p.agree(^uint64(0), all)
		p.setMemory()
		r0, r1 := p.startRing(0, 64), p.startRing(1, 32)
		for range 100 {
			p.echo(r0)
			p.echo(r1)
		}
		if got := p.ask(user.GetVringBase, user.VringState{Index: 0}); got != (user.VringState{Index: 0, Num: 100}) {
			t.Errorf("base = %+v, want 100", got)
		}
		p.echo(r1) // goes on
		p.free = 0
		p.over()
		p.join(s)
	}
	p.agree(0, all)
	if got := p.ask(user.GetQueueNum, nil); got != user.U64(2) {
		t.Errorf("queues = %v, want 2", got)
	}
	if got := p.ask(user.GetMaxMemSlots, nil); got != user.U64(maxSlots) {
		t.Errorf("slots = %v, want %d", got, maxSlots)
	}
}

// TestMemoryChanges changes memory under rings that run.
func TestMemoryChanges(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	p.echo(r)
	p.setMemory()
	p.echo(r)
	more := user.MemoryRegion{GPA: 1 << 32, Size: 4096, User: userBase + 1<<32, Offset: memSize - 4096}
	for range 2 {
		p.do(user.AddMemReg, more, int(p.file.Fd()))
		p.echo(r)
		overlaps := more
		overlaps.Size--
		p.refused(user.AddMemReg, overlaps, int(p.file.Fd()))
		p.echo(r)
		// The same again, as for another queue pair of a card, counts.
		p.do(user.AddMemReg, more, int(p.file.Fd()))
		p.do(user.RemMemReg, more)
		p.refused(user.AddMemReg, overlaps, int(p.file.Fd()))
		p.do(user.RemMemReg, more)
		p.echo(r)
	}
	p.refused(user.RemMemReg, more)
	// Without any memory a ring stops; with it, it goes on. It cannot in another.
	p.do(user.RemMemReg, p.table()[0])
	p.refused(user.AddMemReg, more, int(p.file.Fd()))
	p.do(user.RemMemReg, more)
	p.do(user.AddMemReg, p.table()[0], int(p.file.Fd()))
	p.echo(r)
}

// TestRefused has requests that make no sense, each of which must change nothing.
func TestRefused(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(2, 64), Options{})
	p.agree(^uint64(0), all)
	p.setMemory()
	r := p.startRing(0, 64)
	p.echo(r)
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	file, event := int(p.file.Fd()), p.kicks[0].Fd()
	region := func(change func(*user.MemoryRegion)) user.MemoryRegion {
		m := user.MemoryRegion{GPA: 1 << 32, Size: 4096, User: userBase + 1<<32}
		change(&m)
		return m
	}
	for _, c := range []struct {
		request user.Request
		payload user.Payload
		fds     []int
	}{
		{user.SetFeatures, user.U64(1 << 63), nil},
		{user.SetProtocolFeatures, user.U64(1 << 63), nil},
		{user.SetProtocolFeatures, user.U64(1 << user.ProtocolPagefault), nil},
		{user.SetVringNum, user.VringState{Index: 2, Num: 64}, nil},
		{user.SetVringNum, user.VringState{Index: 1<<32 - 1, Num: 64}, nil},
		{user.SetVringNum, user.VringState{Index: 0, Num: 0}, nil},
		{user.SetVringNum, user.VringState{Index: 0, Num: 3}, nil},
		{user.SetVringNum, user.VringState{Index: 0, Num: 1 << 16}, nil},
		{user.SetVringBase, user.VringState{Index: 0, Num: 1 << 16}, nil},
		{user.SetVringEnable, user.VringState{Index: 0, Num: 2}, nil},
		{user.SetVringAddr, user.VringAddr{Index: 0, Flags: 2}, nil},
		{user.SetVringKick, user.VringFD{Index: 2}, []int{event}},
		{user.SetVringKick, user.VringFD{Index: 0}, []int{pipe[0]}},
		{user.SetVringKick, user.VringFD{Index: 0}, []int{file}},
		{user.SetVringKick, user.VringFD{Index: 0, None: true}, nil},
		{user.SetVringKick, user.VringFD{Index: 0}, nil},
		{user.SetVringKick, user.VringFD{Index: 0, None: true}, []int{event}},
		{user.SetVringCall, user.VringFD{Index: 0}, []int{pipe[1]}},
		{user.SetVringErr, user.VringFD{Index: 0}, []int{int(zero.Fd())}},
		{user.SetVringEndian, user.VringState{}, nil},
		{user.SetMemTable, user.MemoryTable{region(func(*user.MemoryRegion) {})}, nil},
		{user.SetMemTable, user.MemoryTable{}, []int{file}},
		{user.SetMemTable, user.MemoryTable{p.table()[0], p.table()[0]}, []int{file, file}},
		{user.SetMemTable, p.table(), []int{int(zero.Fd())}},
		{user.SetMemTable, p.table(), []int{pipe[0]}},
		{user.SetMemTable, p.table(), []int{event}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.Size = 0 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.Size = memSize + 1 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.Offset = memSize }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.Offset = 1<<64 - 4096 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.Size = 1<<64 - 4096 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.GPA = 1<<64 - 4095 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.User = 1<<64 - 4095 }), []int{file}},
		{user.AddMemReg, region(func(m *user.MemoryRegion) { m.GPA = memSize - 1 }), []int{file}},
		{user.AddMemReg, region(func(*user.MemoryRegion) {}), nil},
		{user.RemMemReg, region(func(*user.MemoryRegion) {}), []int{file, file}},
		{user.SetLogBase, user.Log{Size: 8}, []int{file}},
		{user.SetLogBase, user.U64(0), nil},
		{user.SetLogFD, nil, []int{event}},
		{user.SendRARP, user.U64(0), nil},
		{user.NetSetMTU, user.U64(1500), nil},
		{user.SetBackendReqFD, nil, []int{event}},
		{user.SetBackendReqFD, nil, nil},
		{user.SetConfig, user.Config{Offset: 1 << 20, Size: 1, Data: []byte{1}}, nil},
		{user.SetConfig, user.Config{Offset: 0, Size: 5, Data: []byte{1}}, nil},
		{user.CloseCryptoSession, user.U64(0), nil},
		{user.PostcopyListen, nil, nil},
		{user.GPUSetSocket, nil, []int{event}},
		{user.VringKick, user.VringState{Index: 0}, nil},
		{user.SetInflightFD, user.Inflight{Size: 1 << 20, Queues: 3, QueueSize: 64}, []int{file}},
		{user.SetInflightFD, user.Inflight{Size: 64, Queues: 2, QueueSize: 64}, []int{file}},
		{user.SetInflightFD, user.Inflight{Size: 2 * memSize, Queues: 2, QueueSize: 64}, []int{file}},
		{user.SetInflightFD, user.Inflight{Size: 4096, Queues: 1, QueueSize: 64}, []int{pipe[0]}},
		{user.Request(44), nil, nil},
	} {
		p.mu.Lock()
		p.reports = nil
		p.mu.Unlock()
		if _, known := any(c.request).(user.Request); !known || c.request == 44 {
			// Nobody can tell what the answer to an unknown request looks like: the
			// acknowledgement is read by hand.
			if err := p.Send(c.request, true, c.payload, c.fds...); err != nil {
				t.Fatal(err)
			}
			if m, err := p.Receive(); err != nil || !bytes.Equal(m.Payload, []byte{1, 0, 0, 0, 0, 0, 0, 0}) {
				t.Errorf("%v: %+v, %v", c.request, m, err)
			}
		} else {
			p.refused(c.request, c.payload, c.fds...)
		}
		p.mu.Lock()
		if len(p.reports) != 1 || !strings.Contains(p.reports[0].Error(), c.request.String()) {
			t.Errorf("%v: reports %v, want one that names it", c.request, p.reports)
		}
		p.mu.Unlock()
		p.echo(r)
	}
}

// TestUnasked has the same end the session where nobody asked for an answer.
func TestUnasked(t *testing.T) {
	for _, c := range []struct {
		request user.Request
		payload user.Payload
		want    string
	}{
		{user.SetVringNum, user.VringState{Index: 9, Num: 64}, "SET_VRING_NUM: ring 9: no such ring"},
		{user.GetVringBase, user.VringState{Index: 9}, "GET_VRING_BASE: ring 9: no such ring"},
		{user.IOTLBMsg, user.IOTLB{}, "IOTLB_MSG: not supported"},
		{user.GetInflightFD, user.Inflight{Queues: 9, QueueSize: 64}, "GET_INFLIGHT_FD: an area for 9 queues"},
		{user.PostcopyAdvise, nil, "POSTCOPY_ADVISE: protocol feature PAGEFAULT: not agreed upon"},
		{user.Request(1000), nil, "request 1000: unknown request"},
	} {
		p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
		p.agree(0, all)
		if err := p.Send(c.request, false, c.payload); err != nil {
			t.Fatal(err)
		}
		if err := p.dead(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
	}
}

// TestAddresses has rings where they cannot be: nothing starts, and the session goes
// on.
func TestAddresses(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	for name, change := range map[string]func(*user.VringAddr){
		"descriptors at 0":        func(a *user.VringAddr) { a.Desc = 0 },
		"a guest's address":       func(a *user.VringAddr) { a.Desc = r.Desc },
		"beyond the region":       func(a *user.VringAddr) { a.Avail = userBase + memSize },
		"ends beyond it":          func(a *user.VringAddr) { a.Used = userBase + memSize - 8 },
		"wraps around":            func(a *user.VringAddr) { a.Used = 1<<64 - 4 },
		"at an odd address":       func(a *user.VringAddr) { a.Avail++ },
		"descriptors not aligned": func(a *user.VringAddr) { a.Desc += 8 },
	} {
		a := p.address(0, r)
		change(&a)
		p.refused(user.SetVringAddr, a)
		p.do(user.SetVringAddr, p.address(0, r))
		p.echo(r)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestMemoryVanishes has a front-end cut its memory's file short. The process lives,
// and serves the next one.
func TestMemoryVanishes(t *testing.T) {
	p, s := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	p.echo(r)
	if err := p.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	p.kicks[0].Signal()
	if n, err := p.err.Wait(); n == 0 || err != nil {
		t.Fatalf("the error eventfd: %d, %v", n, err)
	}
	p.mu.Lock()
	if err := errors.Join(p.reports...); !errors.Is(err, memory.ErrFault) {
		t.Errorf("reports = %v, want ErrFault", err)
	}
	p.mu.Unlock()
	if got := p.ask(user.GetStatus, nil); got.(user.U64)&virtio.StatusNeedsReset == 0 {
		t.Errorf("status = %v, want NEEDS_RESET in it", got)
	}
	// A ring that is started in memory that is not there: the session's goroutine
	// meets it.
	p.ask(user.GetVringBase, user.VringState{})
	if err := p.Send(user.SetVringKick, true, user.VringFD{}, p.kicks[0].Fd()); err != nil {
		t.Fatal(err)
	}
	if err := p.dead(); !errors.Is(err, memory.ErrFault) {
		t.Errorf("session: %v, want ErrFault", err)
	}
	if err := p.file.Truncate(memSize); err != nil {
		t.Fatal(err)
	}
	p.join(s)
	p.agree(0, all)
	p.setMemory()
	p.echo(p.startRing(0, 64))
}

// TestSealed has memory that can be sealed be so.
func TestSealed(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, memSize); err != nil {
		t.Fatal(err)
	}
	p.agree(0, all)
	p.do(user.SetMemTable, p.table(), fd)
	if err := unix.Ftruncate(fd, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncate: %v, want EPERM", err)
	}
}

// TestKicksAreStolen has a front-end take away each signal of the kick, among them
// any that is meant to end the waiting for kicks.
func TestKicksAreStolen(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(2, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	p.startRing(1, 64)
	p.echo(r)
	end := make(chan struct{})
	var thief sync.WaitGroup
	thief.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				_, _ = p.kicks[0].Clear()
			}
		}
	})
	for range 50 {
		p.ask(user.GetVringBase, user.VringState{})
		p.do(user.SetVringKick, user.VringFD{}, p.kicks[0].Fd())
	}
	close(end)
	thief.Wait()
	p.echo(r)
}

// TestFullCounters has a front-end fill the counters of the call and error eventfds,
// so that a write to them blocks.
func TestFullCounters(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	for _, e := range []*eventfd.FD{p.call, p.err} {
		if _, err := e.Clear(); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(e.Fd(), []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		p.echo(r)
	}
	r.SetAvail(0xffff)
	p.kicks[0].Signal()
	p.wait("a failure", func() bool { return p.ask(user.GetStatus, nil).(user.U64)&virtio.StatusNeedsReset != 0 })
	p.ask(user.GetVringBase, user.VringState{})
}

// TestInBand kicks and is called by message.
func TestInBand(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{InBand: true})
	p.refused2(user.Protocol(user.ProtocolInbandNotifications))
	p.agree(0, all|user.Protocol(user.ProtocolInbandNotifications))
	p.setMemory()
	channel, there, err := user.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	p.do(user.SetBackendReqFD, nil, int(there.Fd()))
	there.Close()
	r := virtiotest.NewRing(p.mem, 16, p.alloc)
	p.do(user.SetVringNum, user.VringState{Num: 16})
	p.do(user.SetVringAddr, p.address(0, r))
	p.do(user.SetVringEnable, user.VringState{Num: 1})
	called := func() {
		t.Helper()
		if err := channel.SetDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
			t.Fatal(err)
		}
		m, err := channel.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := m.DecodeBackend(); err != nil || user.BackendRequest(m.Request) != user.BackendVringCall || v != (user.VringState{}) {
			t.Fatalf("received %v %+v, %v", user.BackendRequest(m.Request), v, err)
		}
	}
	p.do(user.VringKick, user.VringState{})
	called() // it begins with one
	for range 3 {
		r.Offer(virtiotest.Piece{GPA: 0, Len: 16}, virtiotest.Piece{GPA: 0, Len: 16, Write: true})
		p.do(user.VringKick, user.VringState{})
		called()
		if _, ok := r.Take(); !ok {
			t.Fatal("called for nothing")
		}
	}
}

// refused2 agrees on nothing but these protocol features, and wants the session to
// go on without them.
func (p *peer) refused2(f user.ProtocolFeatures) {
	p.Helper()
	if err := p.Send(user.SetProtocolFeatures, false, user.U64(user.Protocol(user.ProtocolReplyAck))); err != nil {
		p.Fatal(err)
	}
	p.refused(user.SetProtocolFeatures, user.U64(f))
}

// TestResetDevice has a device reset in all ways that there are.
func TestResetDevice(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	for _, reset := range []func(){
		func() { p.do(user.ResetDevice, nil) },
		func() { p.do(user.SetStatus, user.U64(0)) },
		func() { p.do(user.ResetOwner, nil) },
		func() { p.do(user.SetVringEnable, user.VringState{}) },
	} {
		r := p.startRing(0, 64)
		p.do(user.SetStatus, user.U64(15))
		p.echo(r)
		reset()
		used := r.UsedIdx()
		r.Offer(virtiotest.Piece{GPA: 0, Len: 16, Write: true})
		p.kicks[0].Signal()
		p.do(user.ResetOwner, nil)
		if got := r.UsedIdx(); got != used {
			t.Errorf("a ring that was stopped is served")
		}
	}
}

// TestClose ends a server in the midst of its work.
func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{TB: t}
	s := newServer(t, virtiotest.NewEcho(1, 64), p, Options{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p.Conn = user.NewConn(c.(*net.UnixConn))
	defer p.Conn.Close()
	p.memory()
	p.agree(0, all)
	p.setMemory()
	p.echo(p.startRing(0, 64))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve = %v, want ErrClosed", err)
	}
}
