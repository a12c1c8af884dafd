package pci

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// function is a PCI function with a header whose BARs work as hardware's do.
type function struct {
	t     *testing.T
	space [spaceSize]byte
	bars  [barCount]uint32 // size of each memory BAR; 0 for none
	flags [barCount]uint32
}

func newFunction(t *testing.T, vendor uint16, bars ...uint32) *function {
	f := &function{t: t}
	copy(f.bars[:], bars)
	binary.LittleEndian.PutUint16(f.space[cfgVendor:], vendor)
	return f
}

func (f *function) check(off uint16, p []byte) {
	if len(p) == 0 || int(off)+len(p) > spaceSize || off/4 != (off+uint16(len(p))-1)/4 {
		f.t.Errorf("access of %d bytes at %#x", len(p), off)
	}
}

func (f *function) ConfigRead(off uint16, p []byte) {
	f.check(off, p)
	copy(p, f.space[off:])
}

func (f *function) ConfigWrite(off uint16, p []byte) {
	f.check(off, p)
	copy(f.space[off:], p)
	for i, size := range f.bars {
		reg := f.space[cfgBAR+4*i:]
		v := binary.LittleEndian.Uint32(reg) & -size // the low bits are fixed
		if size == 0 {
			v = 0
		}
		binary.LittleEndian.PutUint32(reg, v|f.flags[i])
	}
}

func (f *function) bar(i int) uint32 { return binary.LittleEndian.Uint32(f.space[cfgBAR+4*i:]) }

func read32(h interface{ Read(uint64, []byte) }, off uint64) uint32 {
	var p [4]byte
	h.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func write32(h interface{ Write(uint64, []byte) }, off uint64, v uint32) {
	h.Write(off, binary.LittleEndian.AppendUint32(nil, v))
}

func TestBothWays(t *testing.T) {
	b := New()
	f := newFunction(t, 0x1AF4)
	if err := b.Add(3, f); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(f.space[0x40:], 0x44332211)
	binary.LittleEndian.PutUint32(f.space[0x100:], 0xEC)

	ecam := b.ECAM()
	if got := read32(ecam, 0); got != deviceBridge<<16|vendorRedHat {
		t.Errorf("ECAM: host bridge is %#x", got)
	}
	if got := read32(ecam, 8) >> 16; got != classHostBridge {
		t.Errorf("ECAM: host bridge has class %#x", got)
	}
	if got := read32(ecam, 3<<deviceShift|0x100); got != 0xEC {
		t.Errorf("ECAM: extended space = %#x", got)
	}
	for _, nobody := range []uint64{1 << deviceShift, 3<<deviceShift | 1<<functionShift, 31 << deviceShift} {
		if got := read32(ecam, nobody); got != ^uint32(0) {
			t.Errorf("ECAM: nobody at %#x = %#x", nobody, got)
		}
	}

	ports := b.Ports()
	if got := read32(ports, 4); got != ^uint32(0) {
		t.Errorf("ports: disabled, reads %#x", got)
	}
	write32(ports, 0, portEnable|3<<11|0x40)
	if got := read32(ports, 0); got != portEnable|3<<11|0x40 {
		t.Errorf("ports: address = %#x", got)
	}
	if got := read32(ports, 4); got != 0x44332211 {
		t.Errorf("ports: data = %#x", got)
	}
	p := []byte{0, 0}
	if ports.Read(6, p); p[0] != 0x33 || p[1] != 0x44 {
		t.Errorf("ports: upper half = %x", p)
	}
	ports.Write(5, []byte{0xAA})
	if f.space[0x41] != 0xAA || f.space[0x40] != 0x11 {
		t.Errorf("ports: a byte write gave % x", f.space[0x40:0x44])
	}
	// Anything but four bytes leaves the address alone.
	ports.Write(0, []byte{0})
	ports.Write(3, []byte{0})
	if got := read32(ports, 0); got != portEnable|3<<11|0x40 {
		t.Errorf("ports: address = %#x after byte writes", got)
	}
	write32(ports, 0, portEnable|1<<16|3<<11)
	if got := read32(ports, 4); got != ^uint32(0) {
		t.Errorf("ports: bus 1 reads %#x", got)
	}
	write32(ports, 0, portEnable|3<<11|1<<8)
	if got := read32(ports, 4); got != ^uint32(0) {
		t.Errorf("ports: function 1 reads %#x", got)
	}
}

func TestAdd(t *testing.T) {
	b := New()
	f := newFunction(t, 1)
	for _, test := range []struct {
		device int
		want   error
	}{{0, ErrTaken}, {1, nil}, {1, ErrTaken}, {31, nil}, {32, ErrDevice}, {-1, ErrDevice}} {
		if err := b.Add(test.device, f); !errors.Is(err, test.want) {
			t.Errorf("Add(%d) = %v, want %v", test.device, err, test.want)
		}
	}
}

func TestAssign(t *testing.T) {
	b := New()
	f := newFunction(t, 1, 0x1000, 0x10, 0, 0x4000)
	if err := b.Add(1, f); err != nil {
		t.Fatal(err)
	}
	next := uint32(0xC000_0100)
	list, err := b.Assign(1, &next, 0xD000_0000)
	if err != nil {
		t.Fatal(err)
	}
	want := []Assigned{{1, 0, 0xC000_1000, 0x1000}, {1, 1, 0xC000_2000, 0x10}, {1, 3, 0xC000_4000, 0x4000}}
	if !slices.Equal(list, want) || next != 0xC000_8000 {
		t.Errorf("Assign = %v, next %#x, want %v", list, next, want)
	}
	for _, a := range want {
		if f.bar(a.BAR) != a.Addr {
			t.Errorf("%v: BAR reads %#x", a, f.bar(a.BAR))
		}
	}
	if f.space[cfgCommand]&commandMemory == 0 {
		t.Error("the function does not decode memory")
	}
}

func TestAssignWideAndPortBARs(t *testing.T) {
	b := New()
	f := newFunction(t, 1, 0x2000, 0, 0x100, 0x1000)
	f.flags[0] = barType64
	f.flags[2] = barIO
	if err := b.Add(1, f); err != nil {
		t.Fatal(err)
	}
	next := uint32(0x1000)
	list, err := b.Assign(1, &next, 0xD000_0000)
	want := []Assigned{{1, 0, 0x2000, 0x2000}, {1, 3, 0x4000, 0x1000}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("Assign = %v, %v, want %v", list, err, want)
	}
	if f.bar(0) != 0x2000|barType64 || f.bar(1) != 0 {
		t.Errorf("a wide BAR reads %#x, %#x", f.bar(0), f.bar(1))
	}
}

func TestAssignNoRoom(t *testing.T) {
	b := New()
	if err := b.Add(1, newFunction(t, 1, 0x1000, 0x1000)); err != nil {
		t.Fatal(err)
	}
	next := uint32(0xDFFF_F000)
	if _, err := b.Assign(1, &next, 0xE000_0000); !errors.Is(err, ErrWindow) {
		t.Errorf("Assign = %v, want ErrWindow", err)
	}
	if _, err := b.Assign(2, &next, 0xE000_0000); !errors.Is(err, ErrDevice) {
		t.Errorf("Assign of nobody = %v, want ErrDevice", err)
	}
	if list, err := b.Assign(0, &next, 0xE000_0000); list != nil || err != nil {
		t.Errorf("Assign of the host bridge = %v, %v", list, err)
	}
}

// Any accesses through both ways: functions see only what they can take, and nobody
// reads as ones.
func FuzzConfig(f *testing.F) {
	f.Add([]byte{0, 0xF8, 0x80, 4, 4, 0}, uint32(portEnable|1<<11|0x10))
	f.Add([]byte{1, 0xFF, 8, 3, 0xFE, 8}, uint32(portEnable|0xFF<<8|0xFF))
	f.Fuzz(func(t *testing.T, program []byte, address uint32) {
		b := New()
		fn := newFunction(t, 0x1AF4, 0x1000)
		if err := b.Add(1, fn); err != nil {
			t.Fatal(err)
		}
		write32(b.Ports(), 0, address)
		for ; len(program) >= 3; program = program[3:] {
			p := make([]byte, 1+program[2]%8)
			off := uint64(program[1]) | uint64(program[0]&0x7F)<<8
			if program[0]&0x80 != 0 {
				off = off*0x11 + 1<<deviceShift - 4
			}
			off %= ECAMSize - 8
			b.ECAM().Read(off, p)
			b.ECAM().Write(off, program[:len(program)%8])
			portOff := uint64(program[1]) % PortCount
			b.Ports().Read(portOff, p)
			b.Ports().Write(portOff, p)
		}
		if got := read32(b.ECAM(), 5<<deviceShift); got != ^uint32(0) {
			t.Errorf("nobody reads %#x", got)
		}
	})
}
