package frontend_test

import (
	"fmt"
	"testing"

	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// BenchmarkEcho compares a device in the transport's own process with the same one
// behind vhost-user: requests of 64 bytes, one at a time, and 32 at once.
func BenchmarkEcho(b *testing.B) {
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprintf("own/depth=%d", depth), func(b *testing.B) {
			benchmarkEcho(b, virtiotest.NewEcho(1, 256), depth)
		})
		b.Run(fmt.Sprintf("vhost-user/depth=%d", depth), func(b *testing.B) {
			path := serve(b, virtiotest.NewEcho(1, 256))
			benchmarkEcho(b, open(b, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(path)}), depth)
		})
	}
}

func benchmarkEcho(b *testing.B, dev virtio.Device, depth int) {
	g := virtiotest.New(b, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(^uint64(0), 128)
	r := g.Rings[0]
	in, out := g.In(make([]byte, 64)), g.Out(64)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(depth, b.N-done)
		for range n {
			r.Put(in, out)
		}
		r.Publish()
		g.Kick(0)
		for range n {
			g.WaitUsed(0)
		}
		done += n
	}
}
