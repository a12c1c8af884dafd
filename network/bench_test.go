package network

import (
	"context"
	"testing"
)

// BenchmarkAttach is one more box on a bridge that is there: attached, and detached.
func BenchmarkAttach(b *testing.B) {
	w := newWorld(b)
	_, err := Attach(b.Context(), w.spec("other", w.namespace()))
	w.must(err)
	for _, ports := range [][]string{nil, {"8080:80"}} {
		name := "plain"
		if ports != nil {
			name = "port"
		}
		b.Run(name, func(b *testing.B) {
			spec := w.spec("box", w.namespace(), ports...)
			for b.Loop() {
				a, err := Attach(context.Background(), spec)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := Detach(context.Background(), a); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDetach is the other half.
func BenchmarkDetach(b *testing.B) {
	w := newWorld(b)
	_, err := Attach(b.Context(), w.spec("other", w.namespace()))
	w.must(err)
	spec := w.spec("box", w.namespace())
	for b.Loop() {
		b.StopTimer()
		a, err := Attach(context.Background(), spec)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := Detach(context.Background(), a); err != nil {
			b.Fatal(err)
		}
	}
}
