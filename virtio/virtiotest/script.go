package virtiotest

import (
	"encoding/binary"
	"testing"

	"tandem/virtio"
	"tandem/virtio/mmio"
	"tandem/virtio/pci"
)

// Op is what a step of a Script does.
type Op byte

// The steps of a Script.
const (
	ReadWindow  Op = iota // of registers, by offset
	WriteWindow           // of registers
	ReadConfig            // configuration space of a PCI function
	WriteConfig           // configuration space
	WriteMemory           // guest memory, by address
	numOps
)

// Script is what a guest does to a device, as bytes that a fuzzer may change in any
// way. A step is an Op, a length of 1 to 64, an address (16 bits), and that many
// bytes.
type Script []byte

const maxStep = 64

// Add appends a step, or several for more bytes than one has room for.
func (s *Script) Add(op Op, at uint16, p []byte) {
	for len(p) > maxStep {
		s.Add(op, at, p[:maxStep])
		at, p = at+maxStep, p[maxStep:]
	}
	*s = append(*s, byte(op), byte(len(p)-1))
	*s = binary.LittleEndian.AppendUint16(*s, at)
	*s = append(*s, p...)
}

// Play does what the script says.
func (s Script) Play(do func(op Op, at uint16, p []byte)) {
	var buf [maxStep]byte
	for len(s) >= 4 {
		op, at := Op(s[0])%numOps, binary.LittleEndian.Uint16(s[2:])
		p := buf[:1+s[1]%maxStep]
		clear(p)
		s = s[4:]
		s = s[copy(p, s):]
		do(op, at, p)
	}
}

// Record writes down what drive does to a device of a new guest: first the guest
// memory that it leaves behind (rings and buffers), and then all accesses to
// registers. Memory above 64 KiB is left out.
func Record(t testing.TB, k Kind, dev virtio.Device, drive func(g *Guest)) Script {
	t.Helper()
	g := New(t, k, dev, Options{})
	var steps Script
	base := g.Space().Addr
	g.Host.Trace = func(write bool, addr uint64, p []byte) {
		op := ReadWindow
		if write {
			op = WriteWindow
		}
		steps.Add(op, uint16(addr-base), p)
	}
	if k.PCI {
		p := g.AsPCI()
		p.Config = recorder{p.Config, &steps}
		p.Put32(0x10, uint32(p.BAR))
		p.Put16(0x04, 0x6)
	}
	drive(g)
	var s Script
	for at := 0; at < 1<<16; at += maxStep {
		p := g.Bytes(uint64(at), maxStep)
		for _, b := range p {
			if b != 0 {
				s.Add(WriteMemory, uint16(at), p)
				break
			}
		}
	}
	return append(s, steps...)
}

type recorder struct {
	Config
	steps *Script
}

func (r recorder) ConfigRead(off uint16, p []byte) {
	r.steps.Add(ReadConfig, off, p)
	r.Config.ConfigRead(off, p)
}

func (r recorder) ConfigWrite(off uint16, p []byte) {
	r.steps.Add(WriteConfig, off, p)
	r.Config.ConfigWrite(off, p)
}

// Fuzz plays scripts to devices over one kind of transport. Whatever a script does,
// the monitor has to live on, to hold no more than one window, to give back all it
// holds, and the device has to work for a well-behaved driver after the machine's
// reset. newDevice makes a fresh device; probe is a Suite's.
func Fuzz(f *testing.F, k Kind, newDevice func(testing.TB) virtio.Device, probe func(*Guest)) {
	mem := NewMemory(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		g := &Guest{
			TB: t, Kind: k, Dev: newDevice(t), Mem: mem, Line: &Line{},
			Host: &Host{NoDoorbells: k.Exits, NoMSI: k.PCI && !k.MSIX}, free: 0x1000,
		}
		space, reset, closeAll := g.plugForFuzz()
		Script(in).Play(func(op Op, at uint16, p []byte) {
			w := space()
			switch op {
			case WriteMemory:
				copy(g.Bytes(uint64(at), LowSize-uint64(at)), p)
			case ReadConfig, WriteConfig:
				if g.Function == nil {
					return
				}
				if op == ReadConfig {
					g.Function.ConfigRead(at, p)
				} else {
					g.Function.ConfigWrite(at, p)
				}
			default:
				off := uint64(at) % w.Size
				p = p[:min(uint64(len(p)), 8, w.Size-off)]
				if op == ReadWindow {
					g.Host.Read(w.Bus, w.Addr+off, p)
				} else {
					g.Host.Write(w.Bus, w.Addr+off, p)
				}
			}
			if n := len(g.Host.Windows()); n > 1 {
				t.Fatalf("%d windows", n)
			}
		})
		reset()
		clear(g.Bytes(0, 1<<17))
		g.Start(^uint64(0), 16)
		probe(g)
		g.close(closeAll())
	})
}

// plugForFuzz plugs the guest's device in. It gives where the registers are at the
// moment, a machine's reset after which a driver is ready, and what pulls the
// device out.
func (g *Guest) plugForFuzz() (space func() virtio.Window, reset func(), closeAll func() error) {
	if !g.Kind.PCI {
		m, err := mmio.New(g.Dev, g.Mem, g.Host, mmioBase, g.Line, mmio.Options{Direct: g.Kind.Direct})
		if err != nil {
			g.Fatal(err)
		}
		g.Registers = NewMMIO(g.Host, mmioBase, g.Line)
		return g.Space, m.Reset, m.Close
	}
	f, err := pci.New(g.Dev, g.Mem, g.Host, pci.Options{Line: g.Line, Direct: g.Kind.Direct})
	if err != nil {
		g.Fatal(err)
	}
	g.Function = f
	size := f.BARs()[0].Size
	space = func() virtio.Window {
		if w := g.Host.Windows(); len(w) == 1 {
			return w[0]
		}
		return virtio.Window{Bus: virtio.MMIO, Addr: pciBase, Size: size} // decoded nowhere: it hits nothing
	}
	reset = func() {
		f.Reset()
		driver, err := NewPCI(g.Host, f, pciBase, g.Line, g.Kind.MSIX)
		if err != nil {
			g.Fatalf("find the function again: %v", err)
		}
		g.Registers = driver
	}
	return space, reset, f.Close
}
