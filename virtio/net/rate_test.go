package net

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// stream is a driver that keeps a data queue busy, without a transport in between: an eventfd or a call of Notify is
// the kick, and an eventfd the call. It allocates nothing while it runs.
type stream struct {
	testing.TB
	card   *Device
	mem    *memory.Space
	free   uint64
	queue  int
	ring   *virtiotest.Ring
	kick   *eventfd.FD
	call   *eventfd.FD
	direct bool // data path exit
}

// Signal and Event implement queue.Interrupt.
func (s *stream) Signal()            { _ = s.call.Signal() }
func (s *stream) Event() *eventfd.FD { return s.call }

const (
	streamRing = 256
	streamMem  = 16 << 20
)

func newStream(t testing.TB, direct bool, number int, b Backend) *stream {
	t.Helper()
	card, err := New(Spec{MAC: mac, Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{TB: t, card: card, queue: number, direct: direct, kick: newEvent(t), call: newEvent(t)}
	region, err := memory.Map(0, streamMem)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { region.Unmap() })
	if s.mem, err = memory.New(region); err != nil {
		t.Fatal(err)
	}
	s.ring = virtiotest.NewRing(s.mem, streamRing, s.alloc)
	s.ring.EventIdx = true
	q, err := queue.New(s.mem, queue.Config{
		Index: number, Size: streamRing, Desc: s.ring.Desc, Avail: s.ring.Avail, Used: s.ring.Used,
		Indirect: true, EventIdx: true, Interrupt: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	queues := make([]virtio.Queue, 3)
	queues[number] = virtio.Queue{Queue: q, Kick: s.kick}
	err = card.Activate(&virtio.Activation{
		Memory: s.mem, Features: card.Features(), Queues: queues,
		UpdateConfig: func(change func()) { change() },
		Fail:         func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		card.Reset()
		card.Close()
	})
	return s
}

func newEvent(t testing.TB) *eventfd.FD {
	t.Helper()
	e, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func (s *stream) alloc(n, align uint64) uint64 {
	s.free = (s.free + align - 1) &^ (align - 1)
	s.free += n
	return s.free - n
}

// buffer is one of the driver's, with a content.
func (s *stream) buffer(n int, write bool, content []byte) virtiotest.Piece {
	s.Helper()
	p := virtiotest.Piece{GPA: s.alloc(uint64(n), 64), Len: uint32(n), Write: write}
	b, err := s.mem.Slice(p.GPA, uint64(n))
	if err != nil {
		s.Fatal(err)
	}
	copy(b, content)
	return p
}

// offer offers so many chains, with one kick at most.
func (s *stream) offer(n int, pieces []virtiotest.Piece) {
	for range n {
		s.ring.Put(pieces...)
	}
	s.ring.Publish()
	if !s.ring.NeedsKick() {
		return
	}
	if s.direct {
		s.card.Notify(s.queue)
		return
	}
	_ = s.kick.Signal()
}

// take waits until so many have come back, with one call at most.
func (s *stream) take(n int) {
	for n > 0 {
		if _, ok := s.ring.Take(); ok {
			n--
			continue
		}
		if !s.ring.WantCall(uint16(n - 1)) {
			_, _ = s.call.Wait()
		}
	}
}

// streamBatch is how many frames are under way at a time.
const streamBatch = 64

// null is a backend that takes each frame in one system call which does nothing.
type null struct{ file *os.File }

func newNull(t testing.TB) null {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return null{f}
}

func (n null) Pairs() int               { return 1 }
func (n null) File(int) *os.File        { return n.file }
func (n null) Features() uint64         { return GuestOffloads | HostOffloads }
func (n null) SetOffloads(uint64) error { return nil }
func (n null) SetPairs(int) error       { return nil }
func (n null) Close() error             { return n.file.Close() }

var (
	ratePaths  = []string{"exit", "eventfd"}
	frameSizes = []int{64, 1514, 65535}
)

// sender gives a function that sends frames.
func sender(t testing.TB, path string, size int) (send func(frames int)) {
	s := newStream(t, path == "exit", 1, newNull(t))
	pieces := []virtiotest.Piece{s.buffer(HeaderSize+size, false, frame(broadcast, size, 0))}
	return func(frames int) {
		for left := frames; left > 0; left -= streamBatch {
			n := min(left, streamBatch)
			s.offer(n, pieces)
			s.take(n)
		}
	}
}

// receiveBuffer is as large as a page: what a driver with merged buffers posts is of that order.
const receiveBuffer = 4096

// frameReceiver gives a function that receives frames, and calls pause and resume around what is not the card's: a peer that
// puts them into the cable.
func frameReceiver(t testing.TB, path string, size int) (receive func(frames int, pause, resume func())) {
	p, ends := newPipe(t, 1)
	s := newStream(t, path == "exit", 0, p)
	raw, err := ends[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		// As a socket's limit for those who may: 64 segments of 64 KiB, and what the kernel keeps with each.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 32<<20)
	})
	if err != nil {
		t.Fatal(err)
	}
	pieces := []virtiotest.Piece{s.buffer(receiveBuffer, true, nil)}
	text := frame([6]byte(mac), size, 0)
	each := (HeaderSize + size + receiveBuffer - 1) / receiveBuffer
	batch := min(streamBatch, streamRing/each)
	return func(frames int, pause, resume func()) {
		for left := frames; left > 0; left -= batch {
			n := min(left, batch)
			// The driver has no buffers out meanwhile, so the card takes none of them.
			pause()
			for range n {
				if _, err := ends[0].Write(text); err != nil {
					t.Error(err)
				}
			}
			resume()
			s.offer(n*each, pieces)
			s.take(n * each)
		}
	}
}

// BenchmarkTransmit is driver and card in one process: kick, ring, one system call a frame, call.
func BenchmarkTransmit(b *testing.B) {
	for _, path := range ratePaths {
		for _, size := range frameSizes {
			b.Run(fmt.Sprintf("%s/%d", path, size), func(b *testing.B) {
				send := sender(b, path, size)
				b.ReportAllocs()
				b.ResetTimer()
				send(b.N)
				rate(b)
			})
		}
	}
}

// BenchmarkReceive is the other direction. Time stands still while frames are put into the cable.
func BenchmarkReceive(b *testing.B) {
	for _, path := range ratePaths {
		for _, size := range frameSizes {
			b.Run(fmt.Sprintf("%s/%d", path, size), func(b *testing.B) {
				receive := frameReceiver(b, path, size)
				b.ReportAllocs()
				b.ResetTimer()
				receive(b.N, b.StopTimer, b.StartTimer)
				rate(b)
			})
		}
	}
}

func rate(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkTransmitOne is one frame at a time: kick, frame, call, and the waking of both sides.
func BenchmarkTransmitOne(b *testing.B) {
	for _, path := range ratePaths {
		b.Run(path, func(b *testing.B) {
			send := sender(b, path, 64)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				send(1)
			}
		})
	}
}

// TestNoAllocations moves frames, and wants nothing allocated for any of them, by whichever goroutine.
func TestNoAllocations(t *testing.T) {
	const frames = 4096
	nothing := func() {}
	for _, path := range ratePaths {
		for _, size := range frameSizes {
			send, receive := sender(t, path, size), frameReceiver(t, path, size)
			for name, move := range map[string]func(int){
				"sent": send, "received": func(n int) { receive(n, nothing, nothing) },
			} {
				move(2 * streamRing) // what is kept from frame to frame is made with the first ones
				// A background task of the runtime's may allocate a little at any time: not once for every hundred frames.
				if n := mallocs(func() { move(frames) }); n > frames/100 {
					t.Errorf("%s: %d allocations for %d frames of %d bytes %s, want none", path, n, frames, size, name)
				}
			}
		}
	}
}

// mallocs counts what all goroutines allocate while f runs.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}
