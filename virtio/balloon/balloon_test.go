package balloon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

const reportQueue = 4

func newDevice(t testing.TB) virtio.Device {
	d, err := New(Spec{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func start(t *testing.T, spec Spec, opt virtiotest.Options, features uint64) (*virtiotest.Guest, *Device) {
	t.Helper()
	d, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, opt)
	g.Start(features, 64)
	return g, d
}

func list(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// page is a page of the guest's that nothing else uses, full of a byte.
func page(g *virtiotest.Guest, number uint32) []byte {
	b := g.Bytes(uint64(number)*PageSize, PageSize)
	copy(b, bytes.Repeat([]byte{0xaa}, PageSize))
	return b
}

func empty(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

func probe(g *virtiotest.Guest) {
	g.Helper()
	mem := page(g, 0x800)
	in := g.In(list(0x800))
	g.Do(inflateQueue, in)
	g.ReuseFrom(in.GPA)
	if !empty(mem) {
		g.Fatal("the page was not given back")
	}
}

func TestConformance(t *testing.T) {
	virtiotest.Suite{New: newDevice, Probe: probe}.Run(t)
}

// resident tells how many pages of a mapping the host holds.
func resident(t *testing.T, mem []byte) (n int) {
	t.Helper()
	vec := make([]byte, len(mem)/PageSize)
	if err := mincore(mem, vec); err != nil {
		t.Fatal(err)
	}
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}

// TestInflate gives pages back in private memory and in a file, in whatever order they come, and nothing beside them.
func TestInflate(t *testing.T) {
	for _, shared := range []bool{false, true} {
		g, d := start(t, Spec{Target: 100 * PageSize}, virtiotest.Options{Shared: shared}, ^uint64(0))
		if n := g.Config32(configPages); n != 100 {
			t.Errorf("num_pages = %d", n)
		}
		first := uint32(0x400)
		area := g.Bytes(uint64(first)*PageSize, 64*PageSize)
		for i := range area {
			area[i] = 0xaa
		}
		// 10 to 19, the other way round and twice; 30; and 63 cut in two by the driver.
		var numbers []uint32
		for i := range uint32(10) {
			numbers = append(numbers, first+19-i, first+10+i)
		}
		text := list(append(numbers, first+30, first+63)...)
		g.Do(inflateQueue, g.In(text[:1]), g.In(text[1:len(text)-3]), g.In(text[len(text)-3:]))
		for i := range uint32(64) {
			p := area[i*PageSize:][:PageSize]
			switch gone := i >= 10 && i < 20 || i == 30 || i == 63; {
			case gone && !empty(p):
				t.Errorf("shared %v: page %d is there still", shared, i)
			case !gone && !bytes.Equal(p, bytes.Repeat([]byte{0xaa}, PageSize)):
				t.Errorf("shared %v: page %d has changed", shared, i)
			}
		}
		g.Do(inflateQueue, g.In(list(first+10, first+11, first+12)))
		if n := resident(t, area[10*PageSize:13*PageSize]); n != 0 {
			t.Errorf("shared %v: %d pages are still resident", shared, n)
		}
		g.Do(deflateQueue, g.In(list(first+10)))
		c := d.Counters()
		if want := (Counters{Inflated: 15 * PageSize, Deflated: PageSize}); c != want {
			t.Errorf("shared %v: counters %+v, want %+v", shared, c, want)
		}
		g.WriteConfig(configActual, list(11))
		if _, actual := d.Size(); actual != 11*PageSize {
			t.Errorf("actual = %d", actual)
		}
	}
}

func TestTarget(t *testing.T) {
	g, d := start(t, Spec{}, virtiotest.Options{}, ^uint64(0))
	for _, bad := range []uint64{1, PageSize + 1, (math.MaxUint32 + 1) * PageSize, math.MaxUint64} {
		if err := d.SetTarget(bad); err == nil {
			t.Errorf("SetTarget(%d) has no error", bad)
		}
		if _, err := New(Spec{Target: bad}); err == nil {
			t.Errorf("New with target %d has no error", bad)
		}
	}
	if err := d.SetTarget(8 * PageSize); err != nil {
		t.Fatal(err)
	}
	if !g.WaitConfig(virtiotest.Patience) || g.Config32(configPages) != 8 {
		t.Errorf("the driver is told %d pages", g.Config32(configPages))
	}
	// It may not change what the host wants.
	g.WriteConfig(0, list(1, 2, 3, 4))
	if target, actual := d.Size(); target != 8*PageSize || actual != 2*PageSize || g.Config32(8) != 0 || d.poison() != 4 {
		t.Errorf("target %d, actual %d, command %d, poison %d", target, actual, g.Config32(8), d.poison())
	}
	g.ResetDevice()
	if target, actual := d.Size(); target != 8*PageSize || actual != 0 {
		t.Errorf("after a reset: target %d, actual %d", target, actual)
	}
	if err := d.SetTarget(0); err != nil { // with no driver
		t.Error(err)
	}
}

// TestHostilePages names what is not the guest's to give.
func TestHostilePages(t *testing.T) {
	g, d := start(t, Spec{}, virtiotest.Options{}, ^uint64(0))
	lowEnd, high := uint32(virtiotest.LowSize/PageSize), uint32(virtiotest.HighBase/PageSize)
	highEnd := high + virtiotest.HighSize/PageSize
	mem := page(g, lowEnd-1)
	g.Do(inflateQueue, g.In(list(math.MaxUint32, lowEnd-1, lowEnd, lowEnd+1, 0xc0000, high-1, highEnd, math.MaxUint32-1)))
	if c := d.Counters(); c.Refused != 7 || c.Inflated != PageSize || !empty(mem) {
		t.Errorf("counters %+v, want 7 refused and one page", c)
	}
	g.Do(inflateQueue, g.Out(4096)) // no numbers at all
	for _, n := range []uint32{5, 4*maxPages + 4} {
		g.Start(^uint64(0), 64)
		g.Rings[deflateQueue].Offer(virtiotest.Piece{GPA: 0, Len: n})
		g.Kick(deflateQueue)
		g.WaitNeedsReset()
		var broken *queue.Error
		if r := g.Reports(); len(r) != 1 || !errors.As(r[0], &broken) {
			t.Errorf("reports = %v", r)
		}
	}
	g.Start(^uint64(0), 64)
	probe(g)
}

// TestReports has free pages come by both numbers that their queue may have, and drops whole pages only.
func TestReports(t *testing.T) {
	for _, c := range []struct {
		name     string
		shared   bool
		features uint64
		poison   uint32
		gone     bool
	}{
		{"private", false, ^uint64(1 << FeaturePagePoison), 0, true},
		{"shared", true, ^uint64(1 << FeaturePagePoison), 0, true},
		{"shared, zeros", true, ^uint64(0), 0, true},
		{"shared, poison", true, ^uint64(0), 0xaaaaaaaa, false},
		{"private, zeros", false, ^uint64(0), 0, false},
		{"not agreed upon", false, ^uint64(1<<FeatureReporting | 1<<FeaturePagePoison), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, d := start(t, Spec{}, virtiotest.Options{Shared: c.shared}, c.features)
			g.WriteConfig(configPoison, list(c.poison))
			for _, q := range []int{3, reportQueue} {
				before, mem, after := page(g, 0x7ff), page(g, 0x800), page(g, 0x801)
				g.Do(q, virtiotest.Piece{GPA: 0x7ff800, Len: PageSize + 2048 + 100, Write: true}, virtiotest.Piece{GPA: 0x900001, Len: 5, Write: true})
				if empty(mem) != c.gone {
					t.Errorf("queue %d: the page is gone: %v", q, empty(mem))
				}
				if before[PageSize-1] != 0xaa || after[0] != 0xaa {
					t.Errorf("queue %d: a page beside it has changed", q)
				}
			}
			want := Counters{Reported: 2 * PageSize}
			if !c.gone {
				want = Counters{Kept: 2 * PageSize}
			}
			if got := d.Counters(); got != want {
				t.Errorf("counters %+v, want %+v", got, want)
			}
		})
	}
}

func stat(tag Tag, value uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, uint16(tag)), value)
}

// TestStatistics keeps the driver's buffer until somebody asks.
func TestStatistics(t *testing.T) {
	g, d := start(t, Spec{}, virtiotest.Options{}, ^uint64(0))
	if _, ok := d.Statistics(); ok {
		t.Error("statistics before there are any")
	}
	if _, err := d.Refresh(t.Context()); !errors.Is(err, ErrNoStatistics) {
		t.Errorf("Refresh: %v", err)
	}
	offer := func(free uint64) {
		text := slices.Concat(stat(FreeMemory, free), stat(99, 1), stat(FreeMemory, 7), stat(TotalMemory, 1<<30), []byte{1, 2})
		g.Rings[statsQueue].Offer(g.In(text[:13]), g.In(text[13:]))
		g.Kick(statsQueue)
	}
	offer(5)
	wait := func(free uint64) {
		t.Helper()
		for end := time.Now().Add(virtiotest.Patience); ; {
			s, ok := d.Statistics()
			if ok && s.Values[FreeMemory] == free {
				if len(s.Values) != 2 || s.Values[TotalMemory] != 1<<30 {
					t.Errorf("statistics %+v", s)
				}
				return
			}
			if time.Now().After(end) {
				t.Fatalf("statistics %+v, want %d free", s, free)
			}
		}
	}
	wait(5)
	if n := g.Rings[statsQueue].UsedIdx(); n != 0 {
		t.Error("the buffer came back, and nobody has asked")
	}
	type answer struct {
		s   Statistics
		err error
	}
	answered := make(chan answer)
	go func() {
		s, err := d.Refresh(t.Context())
		answered <- answer{s, err}
	}()
	g.WaitUsed(statsQueue)
	offer(6)
	if a := <-answered; a.err != nil || a.s.Values[FreeMemory] != 6 {
		t.Errorf("Refresh = %+v", a)
	}
	// A guest that does not answer leaves the last ones.
	ctx, cancel := context.WithCancelCause(t.Context())
	tired := errors.New("tired")
	go func() {
		g.WaitUsed(statsQueue)
		cancel(tired)
	}()
	if s, err := d.Refresh(ctx); !errors.Is(err, tired) || s.Values[FreeMemory] != 6 {
		t.Errorf("Refresh = %+v, %v", s, err)
	}
	// Polling asks by itself, again and again.
	d.SetPolling(time.Millisecond)
	offer(8)
	for free := range uint64(5) {
		g.WaitUsed(statsQueue)
		offer(10 + free)
		wait(10 + free)
	}
	d.SetPolling(0)
	g.ResetDevice()
	if _, ok := d.Statistics(); ok {
		t.Error("statistics of a driver that is gone")
	}
}

func TestTagText(t *testing.T) {
	for tag := range tags {
		text, err := tag.MarshalText()
		var back Tag
		if err != nil || back.UnmarshalText(text) != nil || back != tag {
			t.Errorf("%v became %q and %v", tag, text, back)
		}
	}
	if new(Tag).UnmarshalText([]byte("tag 99")) == nil {
		t.Error("an unknown tag was read")
	}
}
