package memory

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGuard(t *testing.T) {
	r, err := MapShared(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Unmap()
	if err := Guard(func() { r.Bytes[0] = 1 }); err != nil {
		t.Errorf("Guard of memory that is there: %v", err)
	}
	if err := unix.Ftruncate(int(r.File.Fd()), 4096); err != nil {
		t.Fatal(err)
	}
	ran := false
	err = Guard(func() { ran = true; r.Bytes[8192] = 1; ran = false })
	if !errors.Is(err, ErrFault) || !ran {
		t.Errorf("Guard of memory that is gone = %v, want ErrFault", err)
	}
	if err := Guard(func() { r.Bytes[1] = 1 }); err != nil {
		t.Errorf("Guard after a fault: %v", err)
	}
}

// TestGuardPassesOn has panics that are not the memory's come through.
func TestGuardPassesOn(t *testing.T) {
	for name, f := range map[string]func(){
		"a panic":       func() { panic("mine") },
		"a nil pointer": func() { var p *Region; p.GPA = 1 },
		"an index":      func() { _ = make([]byte, 1)[len(t.Name())] },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			t.Errorf("Guard returned %v", Guard(f))
		})
	}
}

func BenchmarkGuard(b *testing.B) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if Guard(func() { n++ }) != nil {
			b.Fatal()
		}
	}
}
