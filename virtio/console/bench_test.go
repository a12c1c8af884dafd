package console

import (
	"io"
	"testing"

	"tandem/virtio/virtiotest"
)

// BenchmarkTransmit sends as Linux does, in pieces of 32 KiB, to a writer that costs nothing.
func BenchmarkTransmit(b *testing.B) {
	d, err := New(single())
	if err != nil {
		b.Fatal(err)
	}
	c, err := d.Ports()[0].Connect(nil, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	g := virtiotest.New(b, virtiotest.Kinds()[0], d, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	in := g.In(make([]byte, 32<<10))
	b.SetBytes(int64(in.Len))
	b.ReportAllocs()
	for b.Loop() {
		g.Do(1, in)
	}
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkReceive takes what comes in pages, as Linux does.
func BenchmarkReceive(b *testing.B) {
	d, err := New(single())
	if err != nil {
		b.Fatal(err)
	}
	c, err := d.Ports()[0].Connect(zeros{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	g := virtiotest.New(b, virtiotest.Kinds()[0], d, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	out := g.Out(4096)
	for range 32 {
		g.Rings[0].Offer(out)
	}
	g.Kick(0)
	b.SetBytes(int64(out.Len))
	b.ReportAllocs()
	for b.Loop() {
		g.WaitUsed(0)
		g.Rings[0].Offer(out)
		g.Kick(0)
	}
}
