package virtiotest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"tandem/virtio"
)

// probeEcho sends bytes through the echo device on every queue, cut up at random,
// and in an indirect table where that was agreed on.
func probeEcho(g *Guest) {
	g.Helper()
	for q := range g.Rings {
		msg := make([]byte, 1+rand.IntN(300))
		for i := range msg {
			msg[i] = byte(rand.Uint32())
		}
		cut := rand.IntN(len(msg))
		pieces := []Piece{g.In(msg)}
		if cut > 0 {
			pieces = []Piece{g.In(msg[:cut]), g.In(msg[cut:])}
		}
		out := g.Out(uint32(len(msg)))
		pieces = append(pieces, out)
		u := g.Do(q, pieces...)
		if int(u.Len) != len(msg) {
			g.Fatalf("queue %d: %d bytes came back, want %d", q, u.Len, len(msg))
		}
		if got := g.Bytes(out.GPA, uint64(out.Len)); !bytes.Equal(got, msg) {
			g.Fatalf("queue %d: %x came back, want %x", q, got, msg)
		}
		g.ReuseFrom(pieces[0].GPA)
	}
}

func TestEcho(t *testing.T) {
	Suite{
		New:   func(testing.TB) virtio.Device { return NewEcho(3, 256) },
		Probe: probeEcho,
	}.Run(t)
}
