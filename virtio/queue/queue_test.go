package queue_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"tandem/internal/eventfd"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// calls is a queue.Interrupt that counts.
type calls int

func (c *calls) Signal()            { *c++ }
func (c *calls) Event() *eventfd.FD { return nil }

// bench is a queue with a driver's side, in two regions that touch at seam.
type bench struct {
	mem   *memory.Space
	ring  *virtiotest.Ring
	queue *queue.Queue
	calls calls
}

const (
	memSize = 1 << 20
	seam    = 1 << 19
	buffers = 0x10000 // where the tests put their buffers
)

func newMemory(t testing.TB) *memory.Space {
	t.Helper()
	var regions []memory.Region
	for _, gpa := range []uint64{0, seam} {
		r, err := memory.Map(gpa, seam)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Unmap() })
		regions = append(regions, r)
	}
	mem, err := memory.New(regions...)
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

func newBench(t testing.TB, size uint16, cfg queue.Config) *bench {
	t.Helper()
	b := &bench{mem: newMemory(t)}
	b.ring = virtiotest.AdoptRing(b.mem, size, 0, 0x8000, 0xa000)
	b.ring.EventIdx = cfg.EventIdx
	cfg.Size, cfg.Desc, cfg.Avail, cfg.Used = size, b.ring.Desc, b.ring.Avail, b.ring.Used
	cfg.Interrupt = &b.calls
	var err error
	if b.queue, err = queue.New(b.mem, cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) pop(t testing.TB, c *queue.Chain) {
	t.Helper()
	if ok, err := b.queue.Pop(c); !ok || err != nil {
		t.Fatalf("Pop = %v, %v, want a chain", ok, err)
	}
}

// gpas tells where slices of guest memory lie.
func (b *bench) gpas(pieces [][]byte) (list []virtiotest.Piece) {
	for _, p := range pieces {
		for _, r := range b.mem.Regions() {
			start := uintptr(unsafe.Pointer(&r.Bytes[0]))
			at := uintptr(unsafe.Pointer(&p[0]))
			if at >= start && at+uintptr(len(p)) <= start+uintptr(len(r.Bytes)) {
				list = append(list, virtiotest.Piece{GPA: r.GPA + uint64(at-start), Len: uint32(len(p))})
			}
		}
	}
	return list
}

func TestChain(t *testing.T) {
	in := func(gpa uint64, n uint32) virtiotest.Piece { return virtiotest.Piece{GPA: gpa, Len: n} }
	out := func(gpa uint64, n uint32) virtiotest.Piece { return virtiotest.Piece{GPA: gpa, Len: n, Write: true} }
	const table = 0xf000
	for _, c := range []struct {
		name               string
		offer              func(b *bench)
		readable, writable []virtiotest.Piece
	}{
		{
			"read only",
			func(b *bench) { b.ring.Offer(in(0x10000, 5)) },
			[]virtiotest.Piece{in(0x10000, 5)},
			nil,
		},
		{
			"write only",
			func(b *bench) { b.ring.Offer(out(0x10000, 5)) },
			nil,
			[]virtiotest.Piece{in(0x10000, 5)},
		},
		{
			"both, several",
			func(b *bench) { b.ring.Offer(in(0x10000, 5), in(0x10001, 6), out(0x10002, 7), out(0x10002, 8)) },
			[]virtiotest.Piece{in(0x10000, 5), in(0x10001, 6)},
			[]virtiotest.Piece{in(0x10002, 7), in(0x10002, 8)},
		},
		{
			"across the seam of two regions",
			func(b *bench) { b.ring.Offer(in(seam-1, 2), out(seam-100, 4096)) },
			[]virtiotest.Piece{in(seam-1, 1), in(seam, 1)},
			[]virtiotest.Piece{in(seam-100, 100), in(seam, 3996)},
		},
		{
			"the first and the last byte of memory",
			func(b *bench) { b.ring.Offer(in(0, 1), in(memSize-1, 1)) },
			[]virtiotest.Piece{in(0, 1), in(memSize-1, 1)},
			nil,
		},
		{
			"all of memory",
			func(b *bench) { b.ring.Offer(in(0, memSize)) },
			[]virtiotest.Piece{in(0, seam), in(seam, seam)},
			nil,
		},
		{
			"indirect",
			func(b *bench) { b.ring.OfferIndirect(table, in(0x10000, 5), out(0x20000, 6), out(0x30000, 7)) },
			[]virtiotest.Piece{in(0x10000, 5)},
			[]virtiotest.Piece{in(0x20000, 6), in(0x30000, 7)},
		},
		{
			"more pieces in an indirect table than the queue has entries",
			func(b *bench) {
				var many []virtiotest.Piece
				for i := range uint64(100) {
					many = append(many, in(0x10000+i, 1))
				}
				b.ring.OfferIndirect(table, many...)
			},
			func() (many []virtiotest.Piece) {
				for i := range uint64(100) {
					many = append(many, in(0x10000+i, 1))
				}
				return many
			}(), nil,
		},
		{
			// virtio 1.2, section 2.7.5.3.2: the device has to take these, and to
			// ignore the write flag of a descriptor that points to a table.
			"direct pieces, then an indirect table marked as writable, at an odd address",
			func(b *bench) {
				s, _ := b.mem.Slice(table+1, 32)
				virtiotest.PutDesc(s, 0x20000, 6, virtiotest.Next, 1)
				virtiotest.PutDesc(s[16:], 0x30000, 7, virtiotest.Write, 0)
				b.ring.SetDesc(0, 0x10000, 5, virtiotest.Next, 1)
				b.ring.SetDesc(1, table+1, 32, virtiotest.Indirect|virtiotest.Write, 0)
				b.ring.SetAvail(0)
			},
			[]virtiotest.Piece{in(0x10000, 5), in(0x20000, 6)},
			[]virtiotest.Piece{in(0x30000, 7)},
		},
		{
			"all entries of the queue",
			func(b *bench) {
				for i := range uint16(16) {
					b.ring.SetDesc(15-i, 0x10000, 1, virtiotest.Next, 14-i)
				}
				b.ring.SetDesc(0, 0x10000, 1, 0, 0xffff) // next means nothing here
				b.ring.SetAvail(15)
			},
			func() (all []virtiotest.Piece) {
				for range 16 {
					all = append(all, in(0x10000, 1))
				}
				return all
			}(), nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 16, queue.Config{Indirect: true})
			c.offer(b)
			var chain queue.Chain
			b.pop(t, &chain)
			if got := b.gpas(chain.Readable); fmt.Sprint(got) != fmt.Sprint(c.readable) {
				t.Errorf("readable = %v, want %v", got, c.readable)
			}
			if got := b.gpas(chain.Writable); fmt.Sprint(got) != fmt.Sprint(c.writable) {
				t.Errorf("writable = %v, want %v", got, c.writable)
			}
			if got, want := chain.ReadLen, sum(c.readable); got != want {
				t.Errorf("ReadLen = %d, want %d", got, want)
			}
			if got, want := chain.WriteLen, sum(c.writable); got != want {
				t.Errorf("WriteLen = %d, want %d", got, want)
			}
			for _, p := range append(chain.Readable, chain.Writable...) {
				if cap(p) != len(p) {
					t.Errorf("a piece of %d bytes has room for %d", len(p), cap(p))
				}
			}
			if ok, err := b.queue.Pop(&chain); ok || err != nil {
				t.Errorf("second Pop = %v, %v, want none", ok, err)
			}
		})
	}
}

func sum(pieces []virtiotest.Piece) (n uint64) {
	for _, p := range pieces {
		n += uint64(p.Len)
	}
	return n
}

// TestWrapAround sends chains through a queue until its indices have wrapped around
// more than once, giving them back in another order than they came.
func TestWrapAround(t *testing.T) {
	for _, size := range []uint16{1, 2, 16, 1024} {
		for _, eventIdx := range []bool{false, true} {
			t.Run(fmt.Sprintf("size %d, event index %v", size, eventIdx), func(t *testing.T) {
				b := newBench(t, size, queue.Config{EventIdx: eventIdx})
				rng := rand.New(rand.NewPCG(uint64(size), 1))
				chains := make([]queue.Chain, size)
				for total := 0; total < 150_000; {
					n := 1 + rng.IntN(int(size))
					for i := range n {
						b.ring.Put(virtiotest.Piece{GPA: buffers + uint64(i), Len: 1})
					}
					b.ring.Publish()
					for i := range n {
						b.pop(t, &chains[i])
						if want := uint16(total + i); chains[i].Index != want {
							t.Fatalf("index of chain %d = %d, want %d", total+i, chains[i].Index, want)
						}
					}
					if ok, err := b.queue.Pop(&queue.Chain{}); ok || err != nil {
						t.Fatalf("chain %d: Pop of an empty ring = %v, %v", total, ok, err)
					}
					order := rng.Perm(n)
					for _, i := range order {
						b.queue.Push(chains[i].Head, uint32(i))
					}
					if _, ok := b.ring.Take(); ok {
						t.Fatalf("chain %d: the driver sees it before Publish", total)
					}
					b.queue.Publish()
					for _, i := range order {
						want := virtiotest.Used{Head: uint32(chains[i].Head), Len: uint32(i)}
						if got, ok := b.ring.Take(); !ok || got != want {
							t.Fatalf("chain %d: used = %+v, %v, want %+v", total+i, got, ok, want)
						}
					}
					total += n
				}
			})
		}
	}
}

// TestCalls checks when the driver is called.
func TestCalls(t *testing.T) {
	publish := func(b *bench, n int) {
		var c queue.Chain
		for range n {
			b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1})
			b.pop(t, &c)
			b.queue.Push(c.Head, 0)
		}
		b.queue.Publish()
		for range n {
			b.ring.Take()
		}
	}
	t.Run("flags", func(t *testing.T) {
		b := newBench(t, 16, queue.Config{})
		publish(b, 3)
		b.ring.NoCall()
		publish(b, 3)
		b.ring.WantCall(0)
		publish(b, 1)
		b.queue.Publish() // nothing new
		if b.calls != 2 {
			t.Errorf("calls = %d, want 2: one a Publish that has something, none while they are off", b.calls)
		}
	})
	t.Run("event index", func(t *testing.T) {
		// Start close to the wrap-around: each step passes it once.
		for _, start := range []uint16{0, 65535, 65530, 32767} {
			b := newBench(t, 16, queue.Config{EventIdx: true, Start: start})
			b.ring.StartAt(start)
			for _, c := range []struct {
				ahead, publish uint16
				call           bool
			}{
				{0, 1, true},
				{0, 5, true},
				{1, 1, false},
				{1, 2, true},
				{9, 9, false},
				{8, 9, true},
				{15, 16, true},
			} {
				b.ring.WantCall(c.ahead)
				before := b.calls
				publish(b, int(c.publish))
				if got := b.calls != before; got != c.call {
					t.Errorf("start %d: call after %d with the wish at %d ahead = %v, want %v", start, c.publish, c.ahead, got, c.call)
				}
			}
			b.ring.NoCall()
			before := b.calls
			publish(b, 16)
			if b.calls != before {
				t.Errorf("start %d: a call that nobody wanted", start)
			}
		}
	})
}

// TestKicks checks that the driver is asked for kicks only when the device sleeps.
func TestKicks(t *testing.T) {
	for _, eventIdx := range []bool{false, true} {
		b := newBench(t, 16, queue.Config{EventIdx: eventIdx})
		var c queue.Chain
		offer := func() bool {
			b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1})
			return b.ring.NeedsKick()
		}
		take := func() {
			b.pop(t, &c)
			b.queue.Push(c.Head, 0)
			b.queue.Publish()
			b.ring.Take()
		}
		if !offer() {
			t.Errorf("event index %v: a new queue wants no kick", eventIdx)
		}
		for range 100 {
			b.queue.DisableKicks()
			take()
			for range 2 {
				if offer() {
					t.Fatalf("event index %v: a kick is wanted while they are disabled", eventIdx)
				}
			}
			if !b.queue.EnableKicks() {
				t.Fatalf("event index %v: EnableKicks = false with chains in the ring", eventIdx)
			}
			take()
			take()
			if b.queue.EnableKicks() {
				t.Fatalf("event index %v: EnableKicks = true with an empty ring", eventIdx)
			}
			if !offer() {
				t.Fatalf("event index %v: no kick is wanted though the device sleeps", eventIdx)
			}
		}
	}
}

func TestRewind(t *testing.T) {
	b := newBench(t, 16, queue.Config{})
	var heads []uint16
	for range 3 {
		heads = append(heads, b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1}))
	}
	var c queue.Chain
	for range 3 {
		b.pop(t, &c)
	}
	b.queue.Rewind(2)
	if got := b.queue.InFlight(); got != 1 {
		t.Errorf("InFlight = %d, want 1", got)
	}
	for _, want := range heads[1:] {
		b.pop(t, &c)
		if c.Head != want {
			t.Errorf("head = %d, want %d", c.Head, want)
		}
	}
}

// TestGoesOnElsewhere serves a ring from where another queue left off.
func TestGoesOnElsewhere(t *testing.T) {
	b := newBench(t, 16, queue.Config{})
	var c queue.Chain
	for range 20 {
		b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1})
		b.pop(t, &c)
		b.queue.Push(c.Head, 0)
		b.queue.Publish()
		b.ring.Take()
	}
	head := b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1})
	cfg := b.queue.Config()
	cfg.Start = b.queue.Next()
	next, err := queue.New(b.mem, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := next.Pop(&c); !ok || err != nil || c.Head != head || c.Index != 20 {
		t.Fatalf("Pop = %v, %v with head %d index %d, want head %d index 20", ok, err, c.Head, c.Index, head)
	}
	next.Push(head, 7)
	next.Publish()
	if u, ok := b.ring.Take(); !ok || u != (virtiotest.Used{Head: uint32(head), Len: 7}) {
		t.Errorf("used = %+v, %v", u, ok)
	}
}

func TestErrors(t *testing.T) {
	b := newBench(t, 16, queue.Config{Index: 3})
	b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 1})
	var c queue.Chain
	b.pop(t, &c)
	b.ring.SetDesc(5, memSize, 8, 0, 0)
	b.ring.SetAvail(5)
	_, err := b.queue.Pop(&c)
	const want = "queue: take chain from queue 3 (head 5, index 1): piece: memory: slice 0x100000+0x8: outside guest memory"
	if err == nil || err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}
	var qe *queue.Error
	if !errors.As(err, &qe) || !errors.Is(err, memory.ErrOutside) {
		t.Errorf("error %T %v is no queue.Error that wraps memory.ErrOutside", err, err)
	}
	// The ring is dead, even if the driver mends it.
	b.ring.SetDesc(5, buffers, 8, 0, 0)
	if ok, again := b.queue.Pop(&c); ok || again != err {
		t.Errorf("Pop of a broken queue = %v, %v", ok, again)
	}
}

// TestTooManyInFlight has a driver offer more chains than the queue has entries,
// while the device still works on the first ones.
func TestTooManyInFlight(t *testing.T) {
	b := newBench(t, 4, queue.Config{})
	b.ring.SetDesc(0, buffers, 1, 0, 0)
	var c queue.Chain
	for range 4 {
		b.ring.SetAvail(0)
		b.pop(t, &c)
	}
	b.queue.Push(0, 0)
	b.ring.SetAvail(0) // as a driver may that saw the used index before it was published
	b.pop(t, &c)
	b.ring.SetAvail(0)
	if _, err := b.queue.Pop(&c); err == nil || !strings.Contains(err.Error(), "jumped by 1 from 5 with room for 0 chains") {
		t.Errorf("Pop of a fifth chain: error = %v", err)
	}
}

// TestLongIndirectTable has as many pieces as an indirect table may have, and one
// more.
func TestLongIndirectTable(t *testing.T) {
	for _, c := range []struct {
		pieces int
		ok     bool
	}{{1024, true}, {1025, false}} {
		b := newBench(t, 16, queue.Config{Indirect: true})
		b.ring.OfferIndirect(0x20000, slices.Repeat([]virtiotest.Piece{{GPA: buffers, Len: 1}}, c.pieces)...)
		var chain queue.Chain
		if _, err := b.queue.Pop(&chain); (err == nil) != c.ok {
			t.Errorf("%d pieces: error = %v, want success %v", c.pieces, err, c.ok)
		}
	}
}

func TestSetUp(t *testing.T) {
	mem := newMemory(t)
	good := queue.Config{Index: 2, Size: 16, Desc: 0, Avail: 0x8000, Used: 0xa000}
	for _, c := range []struct {
		name  string
		spoil func(*queue.Config)
		want  string
	}{
		{"size 0", func(c *queue.Config) { c.Size = 0 }, "queue: set up 2: size 0: not a power of two up to 32768"},
		{"size 24", func(c *queue.Config) { c.Size = 24 }, "queue: set up 2: size 24: not a power of two up to 32768"},
		{"outside", func(c *queue.Config) { c.Desc = memSize }, "queue: set up 2: descriptor table: memory: slice 0x100000+0x100: outside guest memory"},
		{"across regions", func(c *queue.Config) { c.Used = seam - 8 }, "queue: set up 2: used ring: memory: slice 0x7fff8+0x86: outside guest memory"},
		{"not aligned", func(c *queue.Config) { c.Avail = 1 }, "queue: set up 2: available ring 0x1: not aligned to 2"},
	} {
		cfg := good
		c.spoil(&cfg)
		if _, err := queue.New(mem, cfg); err == nil || err.Error() != c.want {
			t.Errorf("%s: error = %q, want %q", c.name, err, c.want)
		}
	}
	for size := uint16(1); size != 0; size <<= 1 {
		cfg := queue.Config{Size: size, Desc: 0, Avail: seam, Used: seam + 0x10010}
		if size == 1<<15 {
			cfg.Used = 0 // there is no room for all three: they overlap, which is the driver's affair
		}
		if _, err := queue.New(mem, cfg); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// TestDescriptorsChange has the driver change descriptors while the device looks at
// them: whatever the device sees, the pieces that it gets are guest memory.
func TestDescriptorsChange(t *testing.T) {
	b := newBench(t, 4, queue.Config{Indirect: true})
	stop := make(chan struct{})
	var driver sync.WaitGroup
	driver.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b.ring.SetDesc(0, buffers, 16, virtiotest.Next, 1)
			b.ring.SetDesc(1, buffers, 16, 0, 0)
			b.ring.SetDesc(0, ^uint64(0)-8, 0xffffffff, virtiotest.Indirect, 0xffff)
			b.ring.SetDesc(1, memSize-8, 16, virtiotest.Write|virtiotest.Next, 0)
		}
	})
	var good, bad int
	for range 50_000 {
		b.ring.SetAvailIdx(1)
		q, err := queue.New(b.mem, b.queue.Config())
		if err != nil {
			t.Fatal(err)
		}
		var c queue.Chain
		if _, err := q.Pop(&c); err != nil {
			bad++
			continue
		}
		good++
		for _, p := range append(c.Readable, c.Writable...) {
			if len(b.gpas([][]byte{p})) != 1 {
				t.Fatalf("a piece of %d bytes that is not guest memory", len(p))
			}
		}
	}
	close(stop)
	driver.Wait()
	t.Logf("%d chains were sound, %d broken", good, bad)
}

func TestNoAllocations(t *testing.T) {
	b := newBench(t, 16, queue.Config{Indirect: true, EventIdx: true})
	var c queue.Chain
	step := driveOnce(t, b, &c)
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for a chain, want 0", n)
	}
}

// driveOnce is one chain all the way: three pieces, in an indirect table every
// second time.
func driveOnce(t testing.TB, b *bench, c *queue.Chain) func() {
	for i := range uint16(3) {
		b.ring.SetDesc(i, buffers, 512, virtiotest.Next, i+1)
	}
	b.ring.SetDesc(3, buffers, 512, virtiotest.Write, 0)
	table, err := b.mem.Slice(0xf000, 64)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint16(4) {
		virtiotest.PutDesc(table[16*i:], buffers, 512, virtiotest.Next*min(1, 3-i), i+1)
	}
	b.ring.SetDesc(4, 0xf000, 64, virtiotest.Indirect, 0)
	return func() {
		b.ring.SetAvail(b.ring.AvailIdx() & 1 * 4)
		b.pop(t, c)
		b.queue.Push(c.Head, 1)
		b.queue.Publish()
		b.queue.EnableKicks()
	}
}

func BenchmarkChain(b *testing.B) {
	for _, c := range []struct {
		name string
		head uint16
	}{{"direct", 0}, {"indirect", 4}} {
		b.Run(c.name, func(b *testing.B) {
			w := newBench(b, 16, queue.Config{Indirect: true, EventIdx: true})
			var chain queue.Chain
			driveOnce(b, w, &chain)
			b.ReportAllocs()
			for b.Loop() {
				w.ring.SetAvail(c.head)
				if ok, err := w.queue.Pop(&chain); !ok || err != nil {
					b.Fatal(ok, err) // not by pop: t.Helper costs more than a chain
				}
				w.queue.Push(chain.Head, 1)
				w.queue.Publish()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chains/s")
		})
	}
}
