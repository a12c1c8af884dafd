package rng

import (
	"bytes"
	"errors"
	"testing"

	"tandem/virtio"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

func newDevice(testing.TB) virtio.Device { return New() }

// probe asks for 64 bytes, in two pieces, and for more than there are at once.
func probe(g *virtiotest.Guest) {
	g.Helper()
	a, b := g.Out(32), g.Out(32)
	u := g.Do(0, a, b)
	g.ReuseFrom(a.GPA)
	if u.Len != 64 {
		g.Fatalf("%d bytes, want 64", u.Len)
	}
	x, y := g.Bytes(a.GPA, 32), g.Bytes(b.GPA, 32)
	if zero := make([]byte, 32); bytes.Equal(x, zero) || bytes.Equal(y, zero) || bytes.Equal(x, y) {
		g.Fatalf("%x and %x are not random", x, y)
	}
}

func TestConformance(t *testing.T) {
	virtiotest.Suite{New: newDevice, Probe: probe}.Run(t)
}

func TestRequests(t *testing.T) {
	g := virtiotest.New(t, virtiotest.Kinds()[0], New(), virtiotest.Options{})
	g.Start(^uint64(0), 64)
	// One byte: nothing beside it changes.
	one := g.Out(3)
	one.GPA, one.Len = one.GPA+1, 1
	if u := g.Do(0, one); u.Len != 1 {
		t.Errorf("%d bytes, want 1", u.Len)
	}
	if b := g.Bytes(one.GPA-1, 3); b[0] != 0 || b[2] != 0 {
		t.Errorf("bytes beside the buffer = %x", b)
	}
	// A chain gets no more than maxBytes, in one piece or many.
	big := g.Out(maxBytes + 100)
	if u := g.Do(0, big); u.Len != maxBytes {
		t.Errorf("%d bytes, want %d", u.Len, maxBytes)
	}
	half := virtiotest.Piece{GPA: big.GPA, Len: maxBytes - 10, Write: true}
	if u := g.Do(0, half, g.Out(1000), g.Out(1000)); u.Len != maxBytes {
		t.Errorf("%d bytes, want %d", u.Len, maxBytes)
	}
	// What the driver lets the device read is of no interest.
	if u := g.Do(0, g.In([]byte("seed")), g.Out(8)); u.Len != 8 {
		t.Errorf("%d bytes, want 8", u.Len)
	}
}

// TestNoRoom has nowhere to write to.
func TestNoRoom(t *testing.T) {
	g := virtiotest.New(t, virtiotest.Kinds()[0], New(), virtiotest.Options{})
	g.Start(^uint64(0), 64)
	g.Rings[0].Offer(g.In([]byte("seed")))
	g.Kick(0)
	g.WaitNeedsReset()
	var qe *queue.Error
	if r := g.Reports(); len(r) != 1 || !errors.As(r[0], &qe) {
		t.Errorf("reports = %v, want a queue.Error", r)
	}
	g.Start(^uint64(0), 64)
	probe(g)
}

func BenchmarkRequest(b *testing.B) {
	g := virtiotest.New(b, virtiotest.Kinds()[0], New(), virtiotest.Options{})
	g.Start(^uint64(0), 64)
	out := g.Out(64)
	b.ReportAllocs()
	for b.Loop() {
		g.Do(0, out)
	}
}
