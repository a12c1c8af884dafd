package queue_test

import (
	"slices"
	"testing"

	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// wrote is a queue.Marker that takes down what it is told.
type wrote struct{ chains, used [][2]uint64 }

func (w *wrote) Wrote(gpa, n uint64)     { w.chains = append(w.chains, [2]uint64{gpa, n}) }
func (w *wrote) WroteUsed(off, n uint64) { w.used = append(w.used, [2]uint64{off, n}) }

// expect compares, and forgets.
func (w *wrote) expect(t *testing.T, step string, chains, used [][2]uint64) {
	t.Helper()
	if !slices.Equal(w.chains, chains) || !slices.Equal(w.used, used) {
		t.Errorf("%s: told of %#x, in the used ring %#x; want %#x, %#x", step, w.chains, w.used, chains, used)
	}
	*w = wrote{}
}

func TestMarker(t *testing.T) {
	type list = [][2]uint64
	for _, eventIdx := range []bool{false, true} {
		w := &wrote{}
		b := newBench(t, 4, queue.Config{Marker: w, Indirect: true, EventIdx: eventIdx})
		var c, d queue.Chain
		b.queue.EnableKicks()
		want := list(nil)
		if eventIdx {
			want = list{{4 + 4*8, 2}} // avail_event
		}
		w.expect(t, "enable kicks", nil, want)
		b.queue.DisableKicks()
		b.queue.EnableKicks()
		if eventIdx {
			w.expect(t, "kicks off and on", nil, want)
		} else {
			w.expect(t, "kicks off and on", nil, list{{0, 2}, {0, 2}})
		}

		// Two chains, pushed in the other order; one is over the seam, one indirect.
		b.ring.Offer(
			virtiotest.Piece{GPA: buffers, Len: 100},
			virtiotest.Piece{GPA: seam - 10, Len: 20, Write: true}, virtiotest.Piece{GPA: buffers + 0x1000, Len: 7, Write: true},
		)
		b.ring.OfferIndirect(buffers+0x2000, virtiotest.Piece{GPA: buffers + 0x3000, Len: 5, Write: true})
		b.pop(t, &c)
		b.pop(t, &d)
		w.expect(t, "pop", nil, nil)
		b.queue.Push(d.Head, 1)
		w.expect(t, "push of an indirect one", list{{buffers + 0x3000, 5}}, list{{4, 8}})
		b.queue.Push(c.Head, 0)
		w.expect(t, "push of a direct one", list{{seam - 10, 20}, {buffers + 0x1000, 7}}, list{{4 + 8, 8}})
		b.queue.Publish()
		w.expect(t, "publish", nil, list{{2, 2}})

		// A chain that was put back is another one the next time.
		b.ring.Take()
		b.ring.Take()
		b.ring.Offer(virtiotest.Piece{GPA: buffers, Len: 8, Write: true})
		b.pop(t, &c)
		b.queue.Rewind(1)
		b.pop(t, &c)
		b.queue.Push(c.Head, 8)
		w.expect(t, "push after a rewind", list{{buffers, 8}}, list{{4 + 2*8, 8}})
	}
}
