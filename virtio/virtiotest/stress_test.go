package virtiotest

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// TestNoWakeUpIsLost drives a device as fast as it goes, kicking only when the
// device wants it and sleeping only when the driver asked for a call. A missing
// fence, or a check on the wrong side of one, leaves both asleep. The indices wrap
// around several times.
func TestNoWakeUpIsLost(t *testing.T) {
	chains := 200_000
	if testing.Short() {
		chains = 20_000
	}
	for _, k := range Kinds() {
		for _, features := range []uint64{0, virtio.RingFeatures} {
			if k.Exits || k.Direct || k.PCI && !k.MSIX {
				continue // no second goroutine, or nothing that is different
			}
			t.Run(fmt.Sprintf("%s/%#x", k.Name, features), func(t *testing.T) {
				g := New(t, k, NewEcho(1, 16), Options{})
				g.Start(features, 16)
				stream(g, chains)
			})
		}
	}
}

// stream sends numbers through queue 0 and checks that they come back in order.
func stream(g *Guest, chains int) {
	r := g.Rings[0]
	in, out := g.Alloc(8*16, 8), g.Alloc(8*16, 8)
	sent, got := 0, 0
	for got < chains {
		for sent < chains && sent-got < int(r.Size)/2 {
			slot := uint64(sent % 16)
			binary.LittleEndian.PutUint64(g.Bytes(in+8*slot, 8), uint64(sent))
			r.Offer(Piece{GPA: in + 8*slot, Len: 8}, Piece{GPA: out + 8*slot, Len: 8, Write: true})
			sent++
			g.Kick(0)
		}
		g.WaitUsed(0)
		for more := true; more; {
			slot := uint64(got % 16)
			if v := binary.LittleEndian.Uint64(g.Bytes(out+8*slot, 8)); v != uint64(got) {
				g.Fatalf("chain %d holds %d", got, v)
			}
			got++
			_, more = r.Take()
		}
		r.NoCall()
	}
}

// TestResetWaits resets a device while a request is in flight: in the device's
// goroutine, or in the thread of another vCPU.
func TestResetWaits(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			dev := NewEcho(2, 16)
			dev.Hold, dev.Held, dev.Resetting = make(chan struct{}), make(chan struct{}), make(chan struct{})
			g := New(t, k, dev, Options{})
			g.Start(0, 16)

			r, out := g.Rings[0], g.Out(4)
			r.Offer(g.In([]byte("ping")), out)
			r.Offer(g.In([]byte("pong")), g.Out(4))
			var vcpu sync.WaitGroup
			vcpu.Go(func() { g.Notify(0) })
			<-dev.Held
			if !k.Direct {
				vcpu.Wait() // in the direct path the notification returns when it is served
			}

			done := make(chan struct{})
			go func() {
				defer close(done)
				g.SetStatus(0)
			}()
			<-dev.Resetting
			// Another vCPU can look, and sees that it is not over.
			if s := g.Status(); s == 0 {
				t.Error("status is 0 with a request in flight")
			}
			if got := r.UsedIdx(); got != 0 {
				t.Errorf("used index = %d with the first request in flight", got)
			}
			// The second request may be taken until the reset gets further.
			for over := false; !over; {
				select {
				case dev.Hold <- struct{}{}:
				case <-dev.Held:
				case <-done:
					over = true
				}
			}
			vcpu.Wait()
			if s := g.Status(); s != 0 {
				t.Errorf("status after reset = %#x, want 0", s)
			}
			if got := r.UsedIdx(); got == 0 {
				t.Errorf("used index = 0: the request in flight was dropped")
			}
			if got := string(g.Bytes(out.GPA, 4)); got != "ping" {
				t.Errorf("answer = %q, want ping", got)
			}
			dev.Hold, dev.Held, dev.Resetting = nil, nil, nil
		})
	}
}

// TestNotifyReturns has a guest that adds a request for each that is answered,
// while a vCPU's thread serves them: the thread is given back after a queue's
// worth, and the device's goroutine goes on.
func TestNotifyReturns(t *testing.T) {
	dev := NewEcho(1, 4)
	dev.Held, dev.Hold = make(chan struct{}), make(chan struct{})
	g := New(t, Kind{Direct: true}, dev, Options{})
	g.Start(0, 4)
	r, returned := g.Rings[0], make(chan struct{})
	in, out := g.In([]byte("x")), g.Out(1)
	offered := 0
	offer := func() {
		for {
			if _, ok := r.Take(); !ok {
				break
			}
		}
		r.Offer(in, out)
		offered++
	}
	offer() // the device's goroutine, which looks at the ring once at its start, may get it
	go func() {
		defer close(returned)
		g.Notify(0)
	}()
	end := time.Now().Add(Patience)
	for back := false; !back; {
		select {
		case <-dev.Held:
			offer() // while the one before is in flight: there is always one more
			dev.Hold <- struct{}{}
		case <-returned:
			back = true
		}
		if time.Now().After(end) {
			t.Fatal("the vCPU's thread does not come back")
		}
	}
	for ; r.UsedIdx() != uint16(offered); runtime.Gosched() {
		select {
		case <-dev.Held:
			dev.Hold <- struct{}{}
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d requests were answered", r.UsedIdx(), offered)
		}
	}
}

// trail is a queue.Observer.
type trail struct {
	mu     sync.Mutex
	events []queue.Event
	once   sync.Once
	kicked chan struct{} // closed by the first KickSeen
}

func (t *trail) Observe(e queue.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	if e.Stage == queue.KickSeen {
		t.once.Do(func() { close(t.kicked) })
	}
}

// TestObserver follows one request through all stages.
func TestObserver(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			seen := &trail{kicked: make(chan struct{})}
			g := New(t, k, NewEcho(2, 16), Options{Observer: seen})
			g.Start(virtio.RingFeatures, 16)
			g.Do(1, g.In([]byte("hello")), g.Out(7)) // the device may look without a kick once
			g.Rings[1].WantCall(0)
			g.Notify(1)
			head := g.Rings[1].Offer(g.In([]byte("hello")), g.Out(7))
			g.Notify(1)
			g.WaitUsed(1)
			<-seen.kicked // it may come after the device found the request by itself
			g.SetStatus(0)

			seen.mu.Lock()
			defer seen.mu.Unlock()
			want := []queue.Event{
				{Stage: queue.ChainPopped, Queue: 1, Head: head, Index: 1, Length: 12},
				{Stage: queue.UsedPublished, Queue: 1, Head: head, Index: 1, Length: 5},
				{Stage: queue.CallSent, Queue: 1, Index: 2},
			}
			var got []queue.Event
			for _, e := range seen.events {
				switch {
				case e.Stage != queue.KickSeen:
					got = append(got, e)
				case e.Queue != 1 || e.Index > 2 || e.Length > 2:
					t.Errorf("event = %+v", e)
				}
			}
			if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
				t.Errorf("events = %+v, want %+v at the end", got, want)
			}
		})
	}
}

// TestConfigIsNotTorn reads the configuration space in two halves while the device
// changes it: a driver that looks at the generation sees them equal.
func TestConfigIsNotTorn(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			dev := NewEcho(1, 16)
			g := New(t, k, dev, Options{})
			g.Start(0, 16)
			// PCI's generation has 8 bits: more changes than that between two reads
			// could not be told from none.
			const rounds, changes = 20, 200
			for round := range uint64(rounds) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range changes {
						dev.Count()
					}
				}()
				for v := uint64(0); v&0xffffffff < (round+1)*changes; {
					v = g.Config64(0)
					if uint32(v) != uint32(v>>32) {
						t.Fatalf("halves %d and %d, with one generation", uint32(v), v>>32)
					}
				}
				<-done
			}
			if !g.WaitConfig(Patience) {
				t.Error("no configuration interrupt")
			}
		})
	}
}
