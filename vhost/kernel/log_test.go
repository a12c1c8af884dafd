package kernel

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/vhost/dirty"
	"tandem/virtio/memory"
	"tandem/virtio/virtiotest"
)

// pages are those that ranges of memory lie in.
type pages map[uint64]bool

func (p pages) add(gpa, n uint64) {
	for page := gpa &^ (pageSize - 1); page < gpa+n; page += pageSize {
		p[page] = true
	}
}

// expectMarked takes what is marked, and wants it to be these pages.
func (p pages) expectMarked(t *testing.T, when string, l *dirty.Log) {
	t.Helper()
	got := pages{}
	for page := range l.Take() {
		got[page] = true
		if !p[page] {
			t.Errorf("%s: page %#x is marked", when, page)
		}
	}
	for page := range p {
		if !got[page] {
			t.Errorf("%s: page %#x is not marked", when, page)
		}
	}
}

func (g *guest) log() *dirty.Log {
	g.Helper()
	l, err := dirty.New(g.mem)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { l.Close() })
	return l
}

// logged is a card whose driver is the test, and the pages that the kernel is to mark.
type logged struct {
	*guest
	wire   *nettest.Wire
	net    *Net
	rx, tx *ringQueue
}

func newLogged(t *testing.T) *logged {
	t.Helper()
	testenv.Need(t, testenv.VHostNet, testenv.TUN, testenv.Root)
	l := &logged{guest: newGuest(t), wire: nettest.NewWire(t)}
	var err error
	if l.net, err = OpenNet(NetSpec{Taps: []*os.File{l.wire.Tap}, Report: func(err error) { t.Error(err) }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.net.Close() })
	l.rx = l.ring(0, false)
	l.alloc(0, pageSize) // the two used rings are in pages of their own
	l.tx = l.ring(1, false)
	return l
}

func (l *logged) used(r *ringQueue) (gpa, n uint64) { return r.Used, 6 + 8*uint64(r.Size) }

// traffic sends a frame and receives one, each buffer in pages of its own, and gives what was written.
func (l *logged) traffic(t *testing.T) (written pages) {
	t.Helper()
	written = pages{}
	l.alloc(0, pageSize)
	l.transmit(l.tx, frame("out"))
	if got := l.wire.Receive(t); !bytes.Equal(got, frame("out")) {
		t.Fatalf("received %q", got)
	}
	written.add(l.used(l.tx))
	l.wire.Send(t, frame("in"))
	for {
		at := l.alloc(bufferLen, pageSize)
		l.rx.Offer(virtiotest.Piece{GPA: at, Len: bufferLen, Write: true})
		if err := l.rx.kick.Signal(); err != nil {
			t.Fatal(err)
		}
		u := l.take(l.rx)
		written.add(at, uint64(u.Len))
		if bytes.HasSuffix(l.bytes(at, uint64(u.Len)), frame("in")) {
			break // and no frame of the kernel's own, over a new link
		}
	}
	written.add(l.used(l.rx))
	return written
}

// settle has the kernel end what it is at, as it marks a frame's pages after the driver may have seen the frame: a ring
// that is stopped has nothing left to mark. They begin anew elsewhere.
func (l *logged) settle(t *testing.T) {
	t.Helper()
	l.net.StopQueue(0)
	l.net.StopQueue(1)
}

// anew starts the rings again.
func (l *logged) anew(t *testing.T) {
	t.Helper()
	l.alloc(0, pageSize)
	l.rx = l.ring(0, false)
	l.alloc(0, pageSize)
	l.tx = l.ring(1, false)
	for i, r := range []*ringQueue{l.rx, l.tx} {
		if err := l.net.StartQueue(i, r.device()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNetLog(t *testing.T) {
	l := newLogged(t)
	log := l.log()
	if err := l.net.Activate(l.activation(0, l.rx, l.tx)); err != nil {
		t.Fatal(err)
	}
	l.traffic(t)
	pages{}.expectMarked(t, "before it is on", log)

	if err := l.net.SetLog(log); err != nil {
		t.Fatal(err)
	}
	written := l.traffic(t)
	l.settle(t)
	written.expectMarked(t, "on", log)
	l.anew(t)

	// Taken once, pages are marked when they are written again.
	written = l.traffic(t)
	l.settle(t)
	written.expectMarked(t, "again", log)
	l.anew(t)

	// Another log takes its place while rings run.
	other := l.log()
	if err := l.net.SetLog(other); err != nil {
		t.Fatal(err)
	}
	written = l.traffic(t)
	l.settle(t)
	written.expectMarked(t, "another log", other)
	l.anew(t)

	if err := l.net.SetLog(nil); err != nil {
		t.Fatal(err)
	}
	for _, log := range []*dirty.Log{log, other} {
		for range log.Take() { // what the kernel has written as the rings started
		}
	}
	l.traffic(t)
	l.settle(t)
	pages{}.expectMarked(t, "off", other)
	pages{}.expectMarked(t, "off, the first one", log)
}

func TestNetLogBeforeActivate(t *testing.T) {
	l := newLogged(t)
	log := l.log()
	if err := l.net.SetLog(log); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.net.Activate(l.activation(0, l.rx, l.tx)); err != nil {
			t.Fatal(err)
		}
		written := l.traffic(t)
		l.net.Reset()
		written.expectMarked(t, "on from the start", log)
		l.rx, l.tx = l.ring(0, false), l.ring(1, false)
	}
}

func TestNetLogRefused(t *testing.T) {
	l := newLogged(t)
	small, err := memory.Map(0, pageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Unmap()
	mem, err := memory.New(small)
	if err != nil {
		t.Fatal(err)
	}
	log, err := dirty.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := l.net.SetLog(log); err != nil {
		t.Fatal(err) // there is no memory yet
	}
	a := l.activation(0, l.rx, l.tx)
	if err := l.net.Activate(a); !errors.Is(err, dirty.ErrTooSmall) {
		t.Errorf("Activate = %v", err)
	}
	if err := l.net.SetLog(nil); err != nil {
		t.Fatal(err)
	}
	if err := l.net.Activate(a); err != nil {
		t.Fatal(err)
	}
	if err := l.net.SetLog(log); !errors.Is(err, dirty.ErrTooSmall) {
		t.Errorf("SetLog = %v", err)
	}
	l.traffic(t) // goes on
	// The kernel looks too: rings run, and there is nothing at that address.
	d := l.net.Devices()[0]
	if err := d.SetLogBase(1 << 63); !errors.Is(err, unix.EFAULT) {
		// Without the feature and the flag nobody would look at it.
		if err := d.SetFeatures(l.net.agreed() | 1<<FeatureLogAll); !errors.Is(err, unix.EFAULT) {
			t.Errorf("features with a log that is nowhere: %v, want EFAULT", err)
		}
	}
	l.traffic(t)
	good := l.log()
	if err := l.net.SetLog(good); err != nil {
		t.Fatal(err)
	}
	more, err := memory.Map(1<<33, pageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Unmap()
	grown, err := memory.New(append([]memory.Region{more}, l.mem.Regions()...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.net.SetMemory(grown); !errors.Is(err, dirty.ErrTooSmall) {
		t.Errorf("SetMemory = %v", err)
	}
	larger, err := dirty.New(grown)
	if err != nil {
		t.Fatal(err)
	}
	defer larger.Close()
	if err := l.net.SetLog(larger); err != nil {
		t.Fatal(err)
	}
	if err := l.net.SetMemory(grown); err != nil {
		t.Error(err)
	}
	written := l.traffic(t)
	l.net.Reset()
	written.expectMarked(t, "in memory that grew", larger)
}
