package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// Function is a PCI function. off+len(p) stays within 4096, and an access
// within one aligned group of four bytes. Several vCPUs may call at the same
// time.
type Function interface {
	ConfigRead(off uint16, p []byte)
	ConfigWrite(off uint16, p []byte)
}

const (
	// Devices is how many devices a bus has, of eight functions each. Only
	// function 0 of each is used here.
	Devices = 32

	deviceShift   = 15 // ECAM: 32 KiB a device
	functionShift = 12
	spaceSize     = 1 << functionShift

	// ECAMSize is the size of ECAM for one bus.
	ECAMSize = Devices << deviceShift
)

// Errors that Add returns, wrapped.
var (
	ErrDevice = errors.New("no such device number")
	ErrTaken  = errors.New("device number is taken")
)

// Bus is PCI bus 0 with its host bridge.
type Bus struct {
	// functions may be added while vCPUs look: each entry is set once.
	functions [Devices]atomic.Pointer[Function]
	address   atomic.Uint32 // port 0xCF8
}

// New makes a bus with the host bridge as device 0.
func New() *Bus {
	b := &Bus{}
	_ = b.Add(0, newHostBridge()) // cannot fail: the bus is empty
	return b
}

// Add plugs a function in, as function 0 of a device.
func (b *Bus) Add(device int, f Function) error {
	if device < 0 || device >= Devices {
		return fmt.Errorf("pci: add device %d: %w", device, ErrDevice)
	}
	if !b.functions[device].CompareAndSwap(nil, &f) {
		return fmt.Errorf("pci: add device %d: %w", device, ErrTaken)
	}
	return nil
}

// at gives the function whose configuration space holds the address, nil for
// none.
func (b *Bus) at(addr uint64) Function {
	device := addr >> deviceShift
	if device >= Devices || addr>>functionShift&7 != 0 {
		return nil
	}
	if f := b.functions[device].Load(); f != nil {
		return *f
	}
	return nil
}

// read and write are accesses at an address of the ECAM. They are split so that
// a function sees one aligned group of four bytes at most, as PCI's byte
// enables allow.
func (b *Bus) read(addr uint64, p []byte) {
	for len(p) > 0 {
		n := min(len(p), int(4-addr%4))
		if f := b.at(addr); f != nil {
			f.ConfigRead(uint16(addr%spaceSize), p[:n])
		} else {
			ones(p[:n])
		}
		p, addr = p[n:], addr+uint64(n)
	}
}

func (b *Bus) write(addr uint64, p []byte) {
	for len(p) > 0 {
		n := min(len(p), int(4-addr%4))
		if f := b.at(addr); f != nil {
			f.ConfigWrite(uint16(addr%spaceSize), p[:n])
		}
		p, addr = p[n:], addr+uint64(n)
	}
}

func ones(p []byte) {
	for i := range p {
		p[i] = 0xFF
	}
}

// ECAM is the handler of the memory-mapped configuration space, ECAMSize long.
func (b *Bus) ECAM() ECAM { return ECAM{b} }

// ECAM is a bus handler.
type ECAM struct{ bus *Bus }

// Read reads configuration space.
func (e ECAM) Read(off uint64, p []byte) { e.bus.read(off, p) }

// Write writes configuration space.
func (e ECAM) Write(off uint64, p []byte) { e.bus.write(off, p) }

// PortCount is how many ports the port access takes: address and data.
const PortCount = 8

// Bits of the address port.
const (
	portEnable   = 1 << 31
	portBus      = 0xFF << 16
	portDevFn    = 0xFF << 8
	portRegister = 0xFC
)

// Ports is the handler of the ports 0xCF8 to 0xCFF.
func (b *Bus) Ports() Ports { return Ports{b} }

// Ports is a bus handler.
type Ports struct{ bus *Bus }

// Read reads the address or configuration space. Only a full four bytes reach the
// address register: its upper ports belonged to other chips.
func (h Ports) Read(off uint64, p []byte) {
	switch addr, ok := h.target(off, p); {
	case off == 0 && len(p) == 4:
		binary.LittleEndian.PutUint32(p, h.bus.address.Load())
	case ok:
		h.bus.read(addr, p)
	default:
		ones(p)
	}
}

// Write writes the address or configuration space.
func (h Ports) Write(off uint64, p []byte) {
	if off == 0 && len(p) == 4 {
		h.bus.address.Store(binary.LittleEndian.Uint32(p))
		return
	}
	if addr, ok := h.target(off, p); ok {
		h.bus.write(addr, p)
	}
}

// target is where in the ECAM an access to the data ports leads.
func (h Ports) target(off uint64, p []byte) (addr uint64, ok bool) {
	a := h.bus.address.Load()
	if off < 4 || off+uint64(len(p)) > PortCount || a&portEnable == 0 || a&portBus != 0 {
		return 0, false
	}
	return uint64(a&portDevFn)<<4 | uint64(a&portRegister) | (off - 4), true
}
