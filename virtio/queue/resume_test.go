package queue_test

import (
	"fmt"
	"slices"
	"testing"

	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// tracker writes down what it is told.
type tracker []string

func (k *tracker) Popped(head uint16)    { *k = append(*k, fmt.Sprintf("popped %d", head)) }
func (k *tracker) Pushed(head uint16)    { *k = append(*k, fmt.Sprintf("pushed %d", head)) }
func (k *tracker) Published(used uint16) { *k = append(*k, fmt.Sprintf("published %d", used)) }

// TestResume takes a queue over from one who popped four chains, pushed the second
// and the third of them, and is gone.
func TestResume(t *testing.T) {
	b := newBench(t, 8, queue.Config{})
	var heads []uint16
	offer := func() {
		heads = append(heads, b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 4}))
	}
	var c queue.Chain
	for i := range 4 {
		offer()
		b.pop(t, &c)
		if i == 1 || i == 2 {
			b.queue.Push(c.Head, 0)
		}
	}
	b.queue.DisableKicks() // and so it stays
	b.queue.Publish()
	for range 2 {
		if _, ok := b.ring.Take(); !ok {
			t.Fatal("no used chain")
		}
	}
	// The slots of the first chains in the available ring are used again meanwhile.
	for range 6 {
		offer()
	}

	var k tracker
	cfg := b.queue.Config()
	cfg.Start, cfg.Resume, cfg.Tracker = b.queue.UsedIndex(), []uint16{heads[0], heads[3]}, &k
	if cfg.Start != 2 {
		t.Fatalf("used index = %d, want 2", cfg.Start)
	}
	q, err := queue.New(b.mem, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if b.ring.NeedsKick() {
		t.Error("kicks are wanted before the queue is looked at")
	}
	pop := func(want uint16) {
		t.Helper()
		if ok, err := q.Pop(&c); !ok || err != nil || c.Head != want {
			t.Fatalf("Pop = %d, %v, %v, want %d", c.Head, ok, err, want)
		}
	}
	pop(heads[0])
	pop(heads[3])
	pop(heads[4])
	if q.InFlight() != 3 {
		t.Errorf("%d in flight, want 3", q.InFlight())
	}
	q.Rewind(2) // over the seam
	pop(heads[3])
	pop(heads[4])
	q.Push(heads[4], 0)
	q.Publish()
	q.Push(heads[0], 0)
	q.Push(heads[3], 0)
	q.Publish()
	for _, h := range heads[5:] {
		pop(h)
		q.Push(h, 0)
		q.Publish()
	}
	if q.EnableKicks() {
		t.Error("there are more chains")
	}
	b.ring.Publish()
	if got, want := q.Next(), uint16(10); got != want || q.UsedIndex() != want {
		t.Errorf("next = %d, used index = %d, want %d", got, q.UsedIndex(), want)
	}
	want := []string{
		"popped " + fmt.Sprint(heads[0]), "popped " + fmt.Sprint(heads[3]), "popped " + fmt.Sprint(heads[4]),
		"popped " + fmt.Sprint(heads[3]), "popped " + fmt.Sprint(heads[4]),
		"pushed " + fmt.Sprint(heads[4]), "published 3",
		"pushed " + fmt.Sprint(heads[0]), "pushed " + fmt.Sprint(heads[3]), "published 5",
	}
	if len(k) < len(want) || !slices.Equal(k[:len(want)], want) {
		t.Errorf("the tracker was told %q, want %q", k, want)
	}
	// The used ring tells each of them once.
	seen := map[uint32]int{}
	for {
		u, ok := b.ring.Take()
		if !ok {
			break
		}
		seen[u.Head]++
	}
	if len(seen) != 8 {
		t.Errorf("came back: %v, want 8 chains", seen)
	}

	cfg.Resume = make([]uint16, 9)
	if _, err := queue.New(b.mem, cfg); err == nil {
		t.Error("more chains to resume than there can be")
	}
	cfg.Resume = []uint16{9} // beyond the table
	if q, err = queue.New(b.mem, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Pop(&c); err == nil {
		t.Error("a head beyond the table was popped")
	}
}
