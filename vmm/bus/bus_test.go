package bus

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// ram is a device whose registers are memory; it fails the test when it is called
// outside of its window.
type ram struct {
	t     *testing.T
	bytes []byte
}

func (r *ram) check(off uint64, p []byte) bool {
	ok := len(p) > 0 && off < uint64(len(r.bytes)) && uint64(len(p)) <= uint64(len(r.bytes))-off
	if !ok {
		r.t.Errorf("access of %d bytes at %#x of a window of %#x", len(p), off, len(r.bytes))
	}
	return ok
}

func (r *ram) Read(off uint64, p []byte) {
	if r.check(off, p) {
		copy(p, r.bytes[off:])
	}
}

func (r *ram) Write(off uint64, p []byte) {
	if r.check(off, p) {
		copy(r.bytes[off:], p)
	}
}

func mapRAM(t *testing.T, b *Bus, name string, base uint64, content string) *Window {
	t.Helper()
	w, err := b.Map(name, base, uint64(len(content)), &ram{t, []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAccess(t *testing.T) {
	b := New("pio", 0xFFFF)
	mapRAM(t, b, "a", 0x100, "01234567")
	mapRAM(t, b, "b", 0x108, "ABCD")
	mapRAM(t, b, "top", 0xFFFE, "yz")
	for _, test := range []struct {
		addr uint64
		want string
	}{
		{0x100, "0123"},
		{0x104, "4567"},
		{0x106, "67AB"},             // across two windows
		{0x0FE, "\xff\xff01"},       // into a window
		{0x10A, "CD\xff\xff"},       // out of one
		{0x10C, "\xff\xff\xff\xff"}, // nobody
		{0, "\xff\xff"},
		{0xFFFE, "yz"},
		{0xFFFF, "z\xff\xff\xff"}, // past the end of the address space
		{0xFFFD, "\xffyz\xff"},
	} {
		p := make([]byte, len(test.want))
		b.Read(test.addr, p)
		if string(p) != test.want {
			t.Errorf("read %#x = %q, want %q", test.addr, p, test.want)
		}
	}
	b.Write(0x106, []byte("xxXX"))
	b.Write(0x10B, []byte("!nobody"))
	p := make([]byte, 12)
	b.Read(0x100, p)
	if want := "012345xxXXC!"; string(p) != want {
		t.Errorf("after writes %q, want %q", p, want)
	}
}

func TestMapRefuses(t *testing.T) {
	b := New("mmio", 0xFFFF)
	middle := mapRAM(t, b, "middle", 0x1000, "0123456789abcdef")
	mapRAM(t, b, "before", 0x0FF0, "0123456789abcdef")
	mapRAM(t, b, "after", 0x1010, "0123456789abcdef")
	for _, test := range []struct {
		base, size uint64
		want       error
	}{
		{0x1000, 16, ErrOverlap},
		{0x0FFF, 2, ErrOverlap},
		{0x100F, 1, ErrOverlap},
		{0, 0x10000, ErrOverlap},
		{0x2000, 0, ErrRange},
		{0xFFFF, 2, ErrRange},
		{0x10000, 1, ErrRange},
		{0x2000, ^uint64(0), ErrRange},
		{^uint64(0), 2, ErrRange},
	} {
		if _, err := b.Map("new", test.base, test.size, &ram{}); !errors.Is(err, test.want) {
			t.Errorf("Map(%#x, %#x) = %v, want %v", test.base, test.size, err, test.want)
		}
	}
	if err := b.Unmap(middle); err != nil {
		t.Fatal(err)
	}
	if err := b.Unmap(middle); !errors.Is(err, ErrNotMapped) {
		t.Errorf("second Unmap = %v, want ErrNotMapped", err)
	}
	p := []byte{0}
	if b.Read(0x1000, p); p[0] != 0xFF {
		t.Errorf("an unmapped window answers %#x", p)
	}
	mapRAM(t, b, "middle", 0x1000, "again")
}

func TestWholeAddressSpace(t *testing.T) {
	b := New("mmio", ^uint64(0))
	mapRAM(t, b, "top", ^uint64(0)-3, "wxyz")
	p := make([]byte, 6)
	b.Read(^uint64(0)-3, p)
	if want := []byte("wxyz\xff\xff"); !bytes.Equal(p, want) {
		t.Errorf("read at the end = %q, want %q", p, want)
	}
}

func TestObserver(t *testing.T) {
	b := New("pio", 0xFFFF)
	mapRAM(t, b, "dev", 0x10, "ab")
	var seen []string
	b.Observe(func(a Access) {
		seen = append(seen, fmt.Sprintf("%s %#x %s %v", a.Device, a.Addr, a.Data, a.Write))
	})
	b.Read(0x11, make([]byte, 2))
	b.Write(0x10, []byte("x"))
	b.Observe(nil)
	b.Write(0x10, []byte("y"))
	want := []string{"dev 0x11 b false", " 0x12 \xff false", "dev 0x10 x true"}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// Windows come and go while others read.
func TestConcurrentMap(t *testing.T) {
	b := New("mmio", 0xFFFF)
	mapRAM(t, b, "fixed", 0x100, "fixed")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				p := make([]byte, 5)
				if b.Read(0x100, p); string(p) != "fixed" {
					t.Errorf("read %q", p)
					return
				}
			}
		})
	}
	for range 1000 {
		w := mapRAM(t, b, "moves", 0x80, "xx")
		if err := b.Unmap(w); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
}

// Any sequence of maps and accesses keeps to the windows.
func FuzzBus(f *testing.F) {
	f.Add([]byte{0x10, 4, 0x20, 8, 0x18, 8}, uint64(0x1E), uint8(8))
	f.Add([]byte{0, 255, 0, 1}, uint64(0xFFFF), uint8(4))
	f.Fuzz(func(t *testing.T, maps []byte, addr uint64, size uint8) {
		b := New("pio", 0xFFFF)
		owner := map[uint64]byte{}
		for i := 0; i+1 < len(maps); i += 2 {
			base, n := uint64(maps[i])*64, uint64(maps[i+1])
			content := bytes.Repeat([]byte{maps[i]}, int(n))
			if _, err := b.Map("w", base, n, &ram{t, content}); err != nil {
				continue
			}
			for a := base; a < base+n; a++ {
				if _, taken := owner[a]; taken {
					t.Fatalf("address %#x was mapped twice", a)
				}
				owner[a] = maps[i]
			}
		}
		p := make([]byte, size%9)
		b.Read(addr, p)
		for i, got := range p {
			want, ok := owner[addr+uint64(i)]
			if !ok {
				want = 0xFF
			}
			if got != want {
				t.Errorf("read %#x = %#x, want %#x", addr+uint64(i), got, want)
			}
		}
		b.Write(addr, p)
	})
}

func BenchmarkRead(b *testing.B) {
	bus := New("pio", 0xFFFF)
	for i := range uint64(20) {
		if _, err := bus.Map("dev", 0x100*i, 8, &ram{bytes: make([]byte, 8)}); err != nil {
			b.Fatal(err)
		}
	}
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		bus.Read(0x300, p)
	}
}
