package boot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// kernelEnd is where the small kernel's init_size ends.
const kernelEnd = 0x150_0000

func sized(name string, size uint64) Part { return BytesPart(name, make([]byte, size)) }

// huge is a part that nobody reads: planning looks at sizes alone.
func huge(t *testing.T, size uint64) Part {
	return Part{Name: "huge", Size: size, Source: Source{File: memoryFile(t)}}
}

func TestInitrdPlacement(t *testing.T) {
	small, large := sized("small", 5000), huge(t, 900*mib)
	cases := []struct {
		name   string
		memory uint64
		max    uint32 // initrd_addr_max, 0 for the usual
		initrd Part
		want   uint64 // 0 for ErrNoRoom
	}{
		{"at the end of memory", 64 * mib, 0, small, 64*mib - 2*pageSize},
		{"below initrd_addr_max", 5 * gib, 0, small, 2*gib - 2*pageSize},
		{"below another initrd_addr_max", 512 * mib, 0x37ff_ffff, small, 512*mib - 2*pageSize},
		{"below 0x37ffffff", 2 * gib, 0x37ff_ffff, small, 0x3800_0000 - 2*pageSize},
		{"below the hole", 5 * gib, 0xffff_ffff, small, 3*gib - 2*pageSize},
		{"large", gib, 0, large, gib - 900*mib},
		{"as large as what is left", 64 * mib, 0, huge(t, 64*mib-kernelEnd), kernelEnd},
		{"larger, but below the kernel there is room", 24 * mib, 0, huge(t, 15*mib), mib},
		{"larger than either gap", 24 * mib, 0, huge(t, 15*mib+1), 0},
		{"larger than memory", 512 * mib, 0, large, 0},
		{"larger than 4 GiB", 16 * gib, 0, huge(t, 5*gib), 0},
		{"as large as numbers go", 16 * gib, 0, huge(t, ^uint64(0)), 0},
		{"initrd_addr_max in the kernel", 64 * mib, 0x100_1000, small, mib*16 - 2*pageSize},
		{"initrd_addr_max too low", 64 * mib, 0x10_0fff, small, 0},
		{"initrd_addr_max of 0 means page 0", 64 * mib, 1, small, 0},
	}
	for _, c := range cases {
		k := open(t, bzFile{payload: []byte("x"), header: func(b []byte) {
			if c.max != 0 {
				le.PutUint32(b[offInitrdMax:], c.max)
			}
		}}.bytes())
		p, err := NewPlan(Spec{Kernel: k, Memory: ram(c.memory), Initrd: []Part{c.initrd}})
		if c.want == 0 {
			if !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "initrd") {
				t.Errorf("%s: error %v, want ErrNoRoom for the initrd", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := find(t, p, "initrd "+c.initrd.Name).GPA; got != c.want {
			t.Errorf("%s: initrd at %#x, want %#x", c.name, got, c.want)
		}
	}
}

func find(t *testing.T, p *Plan, name string) Segment {
	t.Helper()
	for _, s := range p.Segments {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no segment %q in %v", name, p.Segments)
	return Segment{}
}

// TestInitrdAvoids has tables and reserved memory where the initrd would go.
func TestInitrdAvoids(t *testing.T) {
	s := spec(t, open(t, bzImage()))
	s.ACPI = tables(t, 64*mib-0x8000)
	s.Reserved = []Range{{63 * mib, 0x1000}, {62 * mib, 0x1000}}
	s.Initrd = []Part{sized("a", 0xffff0)}
	if got, want := find(t, plan(t, s), "initrd a").GPA, uint64(62*mib-0x10_0000); got > want+2*mib {
		t.Errorf("initrd at %#x", got)
	}
	checkPlan(t, plan(t, s), s)
}

// TestRoomForKernel has less and less memory.
func TestRoomForKernel(t *testing.T) {
	for _, k := range []*Kernel{open(t, bzImage()), open(t, vmlinux().bytes())} {
		for memory, fits := range map[uint64]bool{
			0: false, mib: false, 16 * mib: false, 18 * mib: false, kernelEnd: true, 32 * mib: true,
		} {
			_, err := NewPlan(Spec{Kernel: k, Memory: ram(memory)})
			if fits && err != nil || !fits && !errors.Is(err, ErrNoRoom) {
				t.Errorf("%v in %d MiB: error %v, fits %v", k.Format, memory/mib, err, fits)
			}
		}
	}
	_, err := NewPlan(Spec{Kernel: open(t, bzImage()), Memory: ram(16 * mib)})
	for _, says := range []string{"vmlinuz", "0x1000000-0x1500000", "5.0 MiB", "16.0 MiB"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("in 16 MiB: error %v, want %q in it", err, says)
		}
	}
}

func TestKernelPlacement(t *testing.T) {
	cases := []struct {
		name   string
		header func([]byte)
		want   uint64
		err    error
	}{
		{"where it likes to be", func(b []byte) {}, 0x100_0000, nil},
		{"aligned", func(b []byte) { le.PutUint64(b[offPrefAddress:], 0x100_1000) }, 0x120_0000, nil},
		{"not below 1 MiB", func(b []byte) { le.PutUint64(b[offPrefAddress:], 0) }, 0x20_0000, nil},
		{"not to be moved", func(b []byte) { b[offRelocatable] = 0 }, 0x10_0000, nil},
		{"above 4 GiB", func(b []byte) { le.PutUint64(b[offPrefAddress:], 1<<32) }, 0, ErrCorrupt},
		{"at the end of all addresses", func(b []byte) { le.PutUint64(b[offPrefAddress:], ^uint64(0)) }, 0, ErrCorrupt},
		{"needs 4 GiB", func(b []byte) { le.PutUint32(b[offInitSize:], 0xffff_ffff) }, 0, ErrNoRoom},
		{"in the hole", func(b []byte) { le.PutUint64(b[offPrefAddress:], 0xc000_0000) }, 0, ErrNoRoom},
	}
	for _, c := range cases {
		k := open(t, bzFile{payload: []byte("x"), header: c.header}.bytes())
		p, err := NewPlan(Spec{Kernel: k, Memory: ram(4 * gib)})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
			continue
		}
		if c.err == nil {
			if got := find(t, p, "kernel code").GPA; got != c.want || p.Entry.RIP != c.want+0x200 {
				t.Errorf("%s: at %#x, entered at %#x, want %#x", c.name, got, p.Entry.RIP, c.want)
			}
		}
	}
}

// TestELFPlacement has segments where none may be.
func TestELFPlacement(t *testing.T) {
	cases := []struct {
		name string
		f    func(*elfFile)
		want error
	}{
		{"over the zero page", func(f *elfFile) { f.loads[0].paddr = zeroPageGPA }, ErrFormat},
		{"at 0", func(f *elfFile) { f.loads[0].paddr = 0 }, ErrFormat},
		{"in the hole", func(f *elfFile) { f.loads[2].paddr = 0xc000_0000 }, ErrNoRoom},
		{"above 4 GiB", func(f *elfFile) { f.loads[2].paddr = 4 * gib }, ErrNoRoom},
		{"at the end of all addresses", func(f *elfFile) { f.loads[2].paddr = ^uint64(0) - 0x1f_ffff }, ErrNoRoom},
		{"much zero memory", func(f *elfFile) { f.loads[2].memsz = 1 << 45 }, ErrNoRoom},
		{"entry in no segment", func(f *elfFile) { f.entry = 0x110_0000 }, ErrCorrupt},
		{"entry in .bss", func(f *elfFile) { f.entry = 0x130_1000 + 20_000 }, ErrCorrupt},
		{"entry as a virtual address", func(f *elfFile) { f.entry = 0xffff_ffff_8100_0000 }, ErrCorrupt},
	}
	for _, c := range cases {
		file := vmlinux()
		c.f(&file)
		_, err := NewPlan(Spec{Kernel: open(t, file.bytes()), Memory: ram(8 * gib)})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

// checkPlan holds what must be true of every plan.
func checkPlan(t *testing.T, p *Plan, s Spec) {
	t.Helper()
	var end uint64
	entered := false
	for _, seg := range p.Segments {
		if seg.GPA < end || seg.Size == 0 {
			t.Errorf("%v begins before %#x", seg, end)
		}
		end = seg.End()
		inRAM := false
		for _, r := range s.Memory {
			inRAM = inRAM || r.contains(seg.Range)
		}
		if !inRAM {
			t.Errorf("%v is not in memory %v", seg, s.Memory)
		}
		entered = entered || p.Entry.RIP >= seg.GPA && p.Entry.RIP < end && seg.Source.File != nil
	}
	if !entered {
		t.Errorf("entry %#x is in no segment with a file", p.Entry.RIP)
	}
	end = 0
	for _, e := range p.E820 {
		if e.GPA < end || e.Size == 0 {
			t.Errorf("memory map %v: %v begins before %#x", p.E820, e, end)
		}
		end = e.End()
	}
}

// TestAnyMemory plans for all kinds of memory and initrds. A plan is right, or there is no room.
func TestAnyMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	kernels := []*Kernel{open(t, bzImage()), open(t, vmlinux().bytes()), unpack(t, open(t, bzImage()), "")}
	planned := 0
	for range 3000 {
		s := Spec{
			Kernel:   kernels[random.IntN(len(kernels))],
			Protocol: Protocol(random.IntN(3)),
			Cmdline:  strings.Repeat("x", random.IntN(2048)),
			Memory:   ram(random.Uint64N(1<<random.UintN(36)+1) &^ (pageSize - 1)),
			ACPI:     tables(t, 0xe0000),
		}
		for n := range random.IntN(4) {
			s.Initrd = append(s.Initrd, Part{
				Name: fmt.Sprint(n), Size: random.Uint64N(1 << random.UintN(32)), Source: Source{File: kernels[0].file},
			})
		}
		p, err := NewPlan(s)
		if err != nil {
			if !errors.Is(err, ErrNoRoom) && (s.Kernel.Format == ELF || s.Protocol != PVH) {
				t.Errorf("memory %v: %v", s.Memory, err)
			}
			continue
		}
		planned++
		checkPlan(t, p, s)
	}
	if planned < 500 {
		t.Errorf("only %d plans of 3000", planned)
	}
}
