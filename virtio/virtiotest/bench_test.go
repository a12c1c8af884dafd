package virtiotest

import (
	"fmt"
	"testing"

	"tandem/virtio"
)

// BenchmarkEcho is driver and device in one process, all the way: registers,
// doorbell, goroutine, ring, interrupt. At depth 1 each chain pays for a kick, a
// call and two wake-ups; with more in flight they are shared.
func BenchmarkEcho(b *testing.B) {
	for _, k := range Kinds() {
		if k.ViaConfig {
			continue // for those who look for a device, not for those who use it
		}
		for _, depth := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/depth=%d", k.Name, depth), func(b *testing.B) { benchmarkEcho(b, k, depth) })
		}
	}
}

func benchmarkEcho(b *testing.B, k Kind, depth int) {
	g := New(b, k, NewEcho(1, 256), Options{})
	g.Start(virtio.RingFeatures, 256)
	r, kicks, calls := g.Rings[0], 0, 0
	pieces := []Piece{g.In(make([]byte, 64)), g.Out(64)}
	b.ReportAllocs()
	b.ResetTimer()
	for sent, got := 0, 0; got < b.N; {
		for sent < b.N && sent-got < depth {
			r.Put(pieces...)
			sent++
		}
		r.Publish()
		if r.NeedsKick() {
			kicks++
			g.Notify(0)
		}
		if _, ok := r.Take(); ok {
			got++
			for more := true; more; {
				if _, more = r.Take(); more {
					got++
				}
			}
			continue
		}
		if !r.WantCall(uint16((sent - got) / 2)) {
			calls++
			if !g.WaitQueue(0, Patience) {
				b.Fatal("no call")
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chains/s")
	b.ReportMetric(float64(kicks)/float64(b.N), "kicks/chain")
	b.ReportMetric(float64(calls)/float64(b.N), "calls/chain")
}
