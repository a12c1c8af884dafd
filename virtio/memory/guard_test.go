package memory

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGuard(t *testing.T) {
	fd, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 1<<20); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := Guard(func() { mem[0] = 1 }); err != nil {
		t.Errorf("Guard of memory that is there: %v", err)
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	ran := false
	err = Guard(func() { ran = true; mem[8192] = 1; ran = false })
	if !errors.Is(err, ErrFault) || !ran {
		t.Errorf("Guard of memory that is gone = %v, want ErrFault", err)
	}
	if err := Guard(func() { mem[1] = 1 }); err != nil {
		t.Errorf("Guard after a fault: %v", err)
	}
}

// TestSharedKeepsItsSize is why the front-end of vhost-user needs no Guard.
func TestSharedKeepsItsSize(t *testing.T) {
	r, err := MapShared(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Unmap()
	for _, size := range []int64{0, 2 << 20} {
		if err := unix.Ftruncate(int(r.File.Fd()), size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v, want EPERM", size, err)
		}
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
