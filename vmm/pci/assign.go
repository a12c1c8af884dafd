package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrWindow says that the functions want more address space than there is.
var ErrWindow = errors.New("PCI memory window is full")

// Bits of a base address register (PCI 3.0, 6.2.5.1).
const (
	barCount   = 6
	barIO      = 1 << 0
	barType64  = 2 << 1
	barTypeAll = 3 << 1
	barFlags   = 0xF // of a memory BAR
)

// Assigned is an address that Assign gave to a BAR.
type Assigned struct {
	Device int
	BAR    int
	Addr   uint32
	Size   uint32
}

func (a Assigned) String() string {
	return fmt.Sprintf("%02x.0 BAR %d at %#x, %#x bytes", a.Device, a.BAR, a.Addr, a.Size)
}

// Assign places the memory BARs of one device in [*next, end) and lets it
// decode them, as firmware would. next moves past what it took. It does nothing
// for port BARs, as there is no port window.
func (b *Bus) Assign(device int, next *uint32, end uint32) ([]Assigned, error) {
	if device < 0 || device >= Devices || b.at(uint64(device)<<deviceShift) == nil {
		return nil, fmt.Errorf("pci: assign device %d: %w", device, ErrDevice)
	}
	c := config{b, uint64(device) << deviceShift}
	if c.read(cfgHeaderType)>>16&0xFF&^headerMulti != headerNormal {
		return nil, nil // a bridge has another layout
	}
	var list []Assigned
	for i := 0; i < barCount; i++ {
		size, wide := c.size(i)
		if size != 0 {
			addr := (uint64(*next) + uint64(size) - 1) &^ (uint64(size) - 1)
			if addr+uint64(size) > uint64(end) {
				return list, fmt.Errorf("pci: assign device %d BAR %d, %#x bytes: %w", device, i, size, ErrWindow)
			}
			c.write(cfgBAR+4*i, uint32(addr))
			*next = uint32(addr + uint64(size))
			list = append(list, Assigned{device, i, uint32(addr), size})
		}
		if wide {
			i++ // the upper half is the next register, and stays 0
		}
	}
	if len(list) > 0 {
		c.write(cfgCommand, c.read(cfgCommand)&0xFFFF|commandMemory)
	}
	return list, nil
}

// config is one function's configuration space, a register at a time.
type config struct {
	bus  *Bus
	base uint64
}

func (c config) read(reg int) uint32 {
	var p [4]byte
	c.bus.read(c.base+uint64(reg&^3), p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (c config) write(reg int, v uint32) {
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	c.bus.write(c.base+uint64(reg&^3), p[:])
}

// size asks a BAR for its size: of the ones that are written to it, those stick
// that are not fixed. 0 is a BAR that is not there or not in memory. wide is a
// 64-bit BAR.
func (c config) size(bar int) (size uint32, wide bool) {
	reg := cfgBAR + 4*bar
	old := c.read(reg)
	c.write(reg, ^uint32(0))
	mask := c.read(reg)
	c.write(reg, old)
	if mask&barIO != 0 {
		return 0, false
	}
	wide = mask&barTypeAll == barType64 && bar+1 < barCount
	return -(mask &^ barFlags), wide
}
