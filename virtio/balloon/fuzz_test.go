package balloon

import (
	"slices"
	"testing"

	"tandem/virtio/virtiotest"
)

// FuzzDevice plays registers and rings of a hostile driver. Afterwards the device has to work.
func FuzzDevice(f *testing.F) {
	kind := virtiotest.Kinds()[0]
	f.Add([]byte(virtiotest.Record(f, kind, newDevice(f), func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		g.Rings[statsQueue].Offer(g.In(stat(FreeMemory, 1)))
		g.Notify(statsQueue)
		g.Do(deflateQueue, g.In(list(0x900, 0x901, 0xffffffff)))
		g.Do(reportQueue, g.Out(2*PageSize))
		g.WriteConfig(configActual, list(1))
		probe(g)
	})))
	virtiotest.Fuzz(f, kind, newDevice, probe)
}

// FuzzPages cuts lists of page numbers anywhere. The runs hold the same pages, each once, in order.
func FuzzPages(f *testing.F) {
	f.Add(list(5, 4, 3, 100, 4, 0xffffffff, 0), 3, 9)
	f.Fuzz(func(t *testing.T, text []byte, a, b int) {
		text = text[:len(text)&^3]
		a, b = min(max(a, 0), len(text)), min(max(b, 0), len(text))
		var s pages
		s.read([][]byte{text[:min(a, b)], text[min(a, b):max(a, b)], text[max(a, b):]})
		var want []uint32
		for at := 0; at < len(text); at += 4 {
			want = append(want, uint32(text[at])|uint32(text[at+1])<<8|uint32(text[at+2])<<16|uint32(text[at+3])<<24)
		}
		if !slices.Equal(s.numbers, want) {
			t.Fatalf("read %v, want %v", s.numbers, want)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		slices.Sort(s.numbers)
		var got []uint32
		end := uint64(0)
		for gpa, n := range runs(s.numbers) {
			if n == 0 || gpa < end || end != 0 && gpa == end {
				t.Fatalf("a run of %d bytes at %#x after one that ends at %#x", n, gpa, end)
			}
			end = gpa + n
			for ; n > 0; n -= PageSize {
				got = append(got, uint32((end-n)/PageSize))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("runs of %v, want %v", got, want)
		}
	})
}
