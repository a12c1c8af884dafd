package backend

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/vhost/dirty"
	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// sharedLog is a log for the peer's memory.
func (p *peer) sharedLog() *dirty.Log {
	p.Helper()
	l, err := dirty.New(p.mem)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { l.Close() })
	return l
}

// setLog has the back-end answer, as it does without being asked for an acknowledgement.
func (p *peer) setLog(l *dirty.Log) {
	p.Helper()
	if got := p.ask(user.SetLogBase, user.Log{Size: l.Size()}, int(l.File().Fd())); got != user.U64(0) {
		p.Errorf("answer to SET_LOG_BASE = %v", got)
	}
}

const (
	baseFeatures = 1<<virtio.FeatureVersion1 | 1<<user.FeatureProtocol
	logFeatures  = baseFeatures | 1<<user.FeatureLogAll
)

// wrote sends a message, whose answer is written to the next page, and tells which page that was.
func (p *peer) wrote(r *virtiotest.Ring) (page uint64) {
	p.Helper()
	p.alloc(0, dirty.PageSize)
	page = p.free
	in, out := page+0x800, page
	b, err := p.mem.Slice(in, 16)
	if err != nil {
		p.Fatal(err)
	}
	copy(b, "a message to you")
	r.Offer(virtiotest.Piece{GPA: in, Len: 16}, virtiotest.Piece{GPA: out, Len: 16, Write: true})
	if err := p.kicks[0].Signal(); err != nil {
		p.Fatal(err)
	}
	p.wait("an answer", func() bool { _, ok := r.Take(); return ok })
	p.free = page + dirty.PageSize
	return page
}

// marked wants exactly these pages to be marked, once the ring has stopped: the used index is marked after the driver
// can see it.
func (p *peer) marked(when string, l *dirty.Log, want ...uint64) {
	p.Helper()
	p.ask(user.GetVringBase, user.VringState{})
	got := slices.Collect(l.Take())
	slices.Sort(want)
	if !slices.Equal(got, slices.Compact(want)) {
		p.Errorf("%s: pages %#x are marked, want %#x", when, got, want)
	}
	p.do(user.SetVringKick, user.VringFD{}, p.kicks[0].Fd())
}

func TestLog(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(0, all)
	p.setMemory()
	r := p.startRing(0, 64)
	log := p.sharedLog()
	p.wrote(r)
	p.setLog(log)
	p.wrote(r)
	p.marked("without the feature", log)

	// The feature has buffers marked, the ring's flag the used ring.
	p.do(user.SetFeatures, user.U64(logFeatures))
	pages := []uint64{p.wrote(r), p.wrote(r)}
	p.marked("without the flag", log, pages...)
	addr := p.address(0, r)
	addr.Flags, addr.LogGuest = user.VringLog, r.Used
	p.do(user.SetVringAddr, addr)
	p.marked("the ring began again", log, append(pages[:0], r.Used&^0xfff)...)
	pages = []uint64{p.wrote(r), r.Used &^ 0xfff}
	p.marked("all", log, pages...)

	// The used ring counts as wherever the front-end says.
	addr.LogGuest = 0xf0000
	p.do(user.SetVringAddr, addr)
	for range log.Take() {
	}
	p.marked("a used ring elsewhere", log, p.wrote(r), 0xf0000)

	// Another log, while the ring runs.
	other := p.sharedLog()
	p.setLog(other)
	for range log.Take() {
	}
	page := p.wrote(r)
	p.marked("the other log", other, page, 0xf0000)
	p.marked("the first one", log)

	addr.Flags = 0
	p.do(user.SetVringAddr, addr)
	p.do(user.SetFeatures, user.U64(baseFeatures))
	for range other.Take() {
	}
	p.wrote(r)
	p.marked("off", other)
	p.over()
}

// TestLogFeatureFirst has the feature come before the log, as QEMU's for a device that starts in the midst of it.
func TestLogFeatureFirst(t *testing.T) {
	p, _ := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(1<<user.FeatureLogAll, all)
	p.setMemory()
	r := p.startRing(0, 64)
	p.wrote(r)
	log := p.sharedLog()
	p.setLog(log)
	p.marked("a log with the feature", log, p.wrote(r))
	p.over()
}

// TestLogRefused has logs that make no sense; the ring goes on with the one that was there.
func TestLogRefused(t *testing.T) {
	p, s := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(1<<user.FeatureLogAll, all)
	p.setMemory()
	r := p.startRing(0, 64)
	log := p.sharedLog()
	p.setLog(log)
	p.marked("at first", log, p.wrote(r))

	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(0x2000); err != nil {
		t.Fatal(err)
	}
	size, fd := log.Size(), int(file.Fd())
	for _, c := range []struct {
		name    string
		payload user.Payload
		fds     []int
		want    error
	}{
		{"no file", user.Log{Size: size}, nil, nil},
		{"an address", user.U64(userBase), []int{fd}, user.ErrValue},
		{"too short a message", user.Raw("1234567"), []int{fd}, user.ErrSize},
		{"too long a message", user.Raw(make([]byte, 24)), []int{fd}, user.ErrSize},
		{"two files", user.Log{Size: size}, []int{fd, fd}, user.ErrDescriptors},
		{"a pipe", user.Log{Size: size}, []int{pipe[0]}, dirty.ErrLayout},
		{"no bytes", user.Log{}, []int{fd}, dirty.ErrLayout},
		{"an odd offset", user.Log{Size: size, Offset: 3}, []int{fd}, dirty.ErrLayout},
		{"beyond the file", user.Log{Size: size, Offset: 0x2000}, []int{fd}, dirty.ErrLayout},
		{"larger than the file", user.Log{Size: 0x2008}, []int{fd}, dirty.ErrLayout},
		{"a sum that wraps", user.Log{Size: 1<<64 - 8, Offset: 16}, []int{fd}, dirty.ErrLayout},
		{"too small for the memory", user.Log{Size: size - 8}, []int{fd}, dirty.ErrTooSmall},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.mu.Lock()
			before := len(p.reports)
			p.mu.Unlock()
			if answer, _ := p.exchange(user.SetLogBase, true, c.payload, c.fds...); answer == user.U64(0) {
				t.Fatal("carried out")
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.reports) != before+1 || c.want != nil && !errors.Is(p.reports[before], c.want) {
				t.Errorf("reports = %v, want %v", p.reports[before:], c.want)
			}
		})
	}
	p.marked("after all of them", log, p.wrote(r))

	// A used ring that counts as what the log has no bits for stops the ring.
	addr := p.address(0, r)
	addr.Flags, addr.LogGuest = user.VringLog, memSize-8
	p.refused(user.SetVringAddr, addr)
	addr.Flags = 1 << 1
	p.refused(user.SetVringAddr, addr)
	addr.Flags, addr.LogGuest = 0, 0
	p.do(user.SetVringAddr, addr)
	p.marked("after a used ring that is nowhere", log, p.wrote(r))

	// Memory that the log has no bits for.
	more := user.MemoryRegion{GPA: 1 << 32, Size: 4096, User: userBase + 1<<32, Offset: memSize - 4096}
	p.refused(user.AddMemReg, more, int(p.file.Fd()))
	p.do(user.RemMemReg, more)
	p.marked("after memory beyond the log", log, p.wrote(r))
	p.over()

	b, err := p.mem.Slice(0, memSize)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	// Who has not agreed upon it cannot.
	p.free = 0
	p.join(s)
	p.agree(0, all&^user.Protocol(user.ProtocolLogSHMFD))
	p.setMemory()
	p.refused(user.SetLogBase, user.Log{Size: size}, int(log.File().Fd()))
	r = p.startRing(0, 64)
	addr = p.address(0, r)
	addr.Flags = user.VringLog
	p.refused(user.SetVringAddr, addr)
	// One that did not ask for an acknowledgement is told by the connection's end.
	if err := p.Send(user.SetLogBase, false, user.Log{Size: size}, int(log.File().Fd())); err != nil {
		t.Fatal(err)
	}
	if err := p.dead(); !errors.Is(err, errNotAgreed) {
		t.Errorf("session: %v", err)
	}
}

// TestLogCutShort has a front-end take the log's file away under a ring that runs: the device fails, and no more.
func TestLogCutShort(t *testing.T) {
	p, s := connect(t, virtiotest.NewEcho(1, 64), Options{})
	p.agree(1<<user.FeatureLogAll, all)
	p.setMemory()
	r := p.startRing(0, 64)
	file, err := os.Create(filepath.Join(t.TempDir(), "log")) // not one that can be sealed
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(0x1000); err != nil {
		t.Fatal(err)
	}
	if got := p.ask(user.SetLogBase, user.Log{Size: 0x1000}, int(file.Fd())); got != user.U64(0) {
		t.Fatal(got)
	}
	p.wrote(r)
	if err := file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	r.Offer(virtiotest.Piece{GPA: 0x80000, Len: 16, Write: true})
	if err := p.kicks[0].Signal(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.err.Wait(); err != nil {
		t.Fatal(err)
	}
	p.Conn.Close()
	<-p.ended
	p.kicks[0], p.kicks[1], p.call, p.err = p.eventFD(), p.eventFD(), p.eventFD(), p.eventFD()
	b, err := p.mem.Slice(0, memSize)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	p.free = 0
	p.join(s)
	p.agree(0, all)
	p.setMemory()
	p.echo(p.startRing(0, 64))
	p.over()
}
