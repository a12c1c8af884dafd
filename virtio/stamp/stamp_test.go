package stamp

import (
	"context"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio/queue"
)

func event(n int) queue.Event {
	return queue.Event{
		Stage: queue.Stage(n % 6), Queue: 2, Head: uint16(n + 1), Index: uint16(n + 2), Length: uint64(n) << 20,
	}
}

func TestReadBack(t *testing.T) {
	r := New(100) // 128
	var c Cursor
	before := Now()
	for n := range 50 {
		r.Observe(event(n))
	}
	stamps, lost := r.Read(nil, &c)
	if len(stamps) != 50 || lost != 0 {
		t.Fatalf("%d stamps, lost %d", len(stamps), lost)
	}
	for n, s := range stamps {
		if s.Event != event(n) || s.Time < before {
			t.Fatalf("stamp %d is %+v, want %+v after %d", n, s, event(n), before)
		}
		before = s.Time
	}
	if stamps, lost := r.Read(nil, &c); len(stamps) != 0 || lost != 0 {
		t.Errorf("read again: %v, lost %d", stamps, lost)
	}
	for range 200 {
		r.Observe(event(7))
	}
	if stamps, lost := r.Read(nil, &c); len(stamps) != 128 || lost != 72 {
		t.Errorf("%d stamps, lost %d; want 128, 72", len(stamps), lost)
	}
}

// TestTogether writes to several queues while others read: whatever is read is whole, and counted once.
func TestTogether(t *testing.T) {
	const queues, each = 3, 20000
	r := New(256)
	var writing, reading sync.WaitGroup
	for q := range queues {
		writing.Go(func() {
			for n := range each {
				r.Observe(queue.Event{Queue: uint16(q), Head: uint16(n), Index: ^uint16(n), Length: uint64(n)<<8 | uint64(q)})
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			var c Cursor
			var got, missed uint64
			var list []Stamp
			for ended := false; !ended; {
				select {
				case <-done:
					ended = true
				default:
				}
				var lost uint64
				list, lost = r.Read(list[:0], &c)
				for i, s := range list {
					if s.Index != ^s.Head || uint16(s.Length>>8) != s.Head || uint16(s.Length&0xff) != s.Queue {
						t.Errorf("torn: %+v", s)
						return
					}
					if i > 0 && s.Time < list[i-1].Time {
						t.Errorf("%+v comes after %+v", s, list[i-1])
						return
					}
				}
				got, missed = got+uint64(len(list)), missed+lost
			}
			if got+missed != queues*each {
				t.Errorf("%d read and %d lost of %d", got, missed, queues*each)
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
}

func TestWait(t *testing.T) {
	r := New(16)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var c Cursor
	woken := make(chan error)
	for n := range 100 {
		go func() { woken <- r.Wait(ctx, &c) }()
		r.Observe(queue.Event{Queue: uint16(n % 5)})
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		if stamps, _ := r.Read(nil, &c); len(stamps) != 1 {
			t.Fatalf("woken for %d stamps", len(stamps))
		}
	}
	ended, end := context.WithCancel(ctx)
	end()
	if r.Wait(ended, &c) == nil {
		t.Error("Wait came back without a stamp")
	}
}

func TestClock(t *testing.T) {
	var ts unix.Timespec
	before := Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	after := Now()
	// The two were read beside each other when the process began.
	if slack := int64(time.Millisecond); ts.Nano() < before-slack || ts.Nano() > after+slack {
		t.Errorf("CLOCK_MONOTONIC is %d, Now %d before and %d after", ts.Nano(), before, after)
	}
	if d := time.Until(At(Now())); d < -time.Second || d > time.Second {
		t.Errorf("At(Now()) is %v away", d)
	}
}

func BenchmarkObserve(b *testing.B) {
	r := New(4096)
	for b.Loop() {
		r.Observe(queue.Event{Stage: queue.ChainPopped, Head: 7})
	}
}
