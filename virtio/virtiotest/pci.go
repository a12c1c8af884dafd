package virtiotest

import (
	"encoding/binary"
	"fmt"
	"time"

	"tandem/virtio"
)

// Config is configuration space, as a host bridge sees a function.
type Config interface {
	ConfigRead(off uint16, p []byte)
	ConfigWrite(off uint16, p []byte)
}

// Cap is a capability in configuration space.
type Cap struct {
	At     uint16 // in configuration space
	Offset uint64 // in the BAR
	Length uint64
}

// PCI is a driver for the PCI transport. It finds its way by the capabilities
// alone.
type PCI struct {
	Host   *Host
	Config Config

	BAR     uint64 // where the BAR is
	BARSize uint64
	Caps    map[uint8]Cap // by cfg_type
	MSIX    uint16        // where the capability is, 0 for none
	Vectors int
	table   uint64
	pba     uint64
	notify  uint64 // notify_off_multiplier

	useMSIX   bool
	viaConfig bool
	isr       isrWaiter
}

const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
	capAccess = 5

	msiAddr = 0xfee00000
	msiData = 0x40 // the message of vector 0; the others follow
)

// NewPCI finds out the size of the BAR, puts it at base and turns memory decoding
// on. With msix it uses MSI-X, otherwise the pin.
func NewPCI(h *Host, c Config, base uint64, line *Line, msix bool) (*PCI, error) {
	p := &PCI{Host: h, Config: c, useMSIX: msix, Caps: make(map[uint8]Cap)}
	if err := p.parse(); err != nil {
		return nil, err
	}
	p.Put32(0x10, 0xffffffff)
	p.BARSize = uint64(^(p.Get32(0x10) &^ 0xf)) + 1
	p.Move(base)
	p.Put16(0x04, 0x6) // memory, bus master
	p.isr = isrWaiter{line: line, take: func() uint32 {
		var b [1]byte
		p.read(capISR, 0, b[:])
		return uint32(b[0])
	}}
	return p, nil
}

// ViaConfig has the driver reach the BAR through configuration space alone (virtio
// 1.2, section 4.1.4.9), and turns memory decoding off.
func (p *PCI) ViaConfig() {
	p.viaConfig = true
	p.Put16(0x04, 0x4)
}

// Move writes the BAR.
func (p *PCI) Move(base uint64) {
	p.Put32(0x10, uint32(base))
	p.BAR = base
}

// Get8, Get16, Get32 read configuration space, Put16 and Put32 write it.
func (p *PCI) Get8(off uint16) uint8 {
	var b [1]byte
	p.Config.ConfigRead(off, b[:])
	return b[0]
}

// Get16 reads configuration space.
func (p *PCI) Get16(off uint16) uint16 {
	var b [2]byte
	p.Config.ConfigRead(off, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

// Get32 reads configuration space.
func (p *PCI) Get32(off uint16) uint32 {
	var b [4]byte
	p.Config.ConfigRead(off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// Put16 writes configuration space.
func (p *PCI) Put16(off, v uint16) {
	p.Config.ConfigWrite(off, binary.LittleEndian.AppendUint16(nil, v))
}

// Put32 writes configuration space.
func (p *PCI) Put32(off uint16, v uint32) {
	p.Config.ConfigWrite(off, binary.LittleEndian.AppendUint32(nil, v))
}

// parse follows the list of capabilities.
func (p *PCI) parse() error {
	if v := p.Get16(0x00); v != 0x1af4 {
		return fmt.Errorf("vendor %#x, want 0x1af4", v)
	}
	if p.Get16(0x06)&0x10 == 0 {
		return fmt.Errorf("no capability list")
	}
	at := uint16(p.Get8(0x34))
	for n := 0; at != 0; n++ {
		if n > 48 || at < 0x40 || at%4 != 0 {
			return fmt.Errorf("capability list: %#x after %d", at, n)
		}
		switch p.Get8(at) {
		case 0x09:
			p.Caps[p.Get8(at+3)] = Cap{At: at, Offset: uint64(p.Get32(at + 8)), Length: uint64(p.Get32(at + 12))}
			if p.Get8(at+3) == capNotify {
				p.notify = uint64(p.Get32(at + 16))
			}
		case 0x11:
			p.MSIX = at
			p.Vectors = int(p.Get16(at+2)&0x7ff) + 1
			p.table, p.pba = uint64(p.Get32(at+4)&^7), uint64(p.Get32(at+8)&^7)
		}
		at = uint16(p.Get8(at + 1))
	}
	for kind := uint8(capCommon); kind <= capAccess; kind++ {
		if _, ok := p.Caps[kind]; !ok {
			return fmt.Errorf("no capability of cfg_type %d", kind)
		}
	}
	return nil
}

func (p *PCI) read(kind uint8, off uint64, b []byte) {
	p.readBAR(p.Caps[kind].Offset+off, b)
}

func (p *PCI) write(kind uint8, off uint64, b []byte) {
	p.writeBAR(p.Caps[kind].Offset+off, b)
}

func (p *PCI) readBAR(off uint64, b []byte) {
	if !p.viaConfig {
		p.Host.Read(virtio.MMIO, p.BAR+off, b)
		return
	}
	p.pieces(off, b, func(b []byte) { p.Config.ConfigRead(p.Caps[capAccess].At+16, b) })
}

func (p *PCI) writeBAR(off uint64, b []byte) {
	if !p.viaConfig {
		p.Host.Write(virtio.MMIO, p.BAR+off, b)
		return
	}
	p.pieces(off, b, func(b []byte) { p.Config.ConfigWrite(p.Caps[capAccess].At+16, b) })
}

// pieces points the window in configuration space at each aligned piece of an
// access.
func (p *PCI) pieces(off uint64, b []byte, do func([]byte)) {
	at := p.Caps[capAccess].At
	for len(b) > 0 {
		n := 4
		for uint64(n) > uint64(len(b)) || off%uint64(n) != 0 {
			n /= 2
		}
		p.Config.ConfigWrite(at+4, []byte{0})
		p.Put32(at+8, uint32(off))
		p.Put32(at+12, uint32(n))
		do(b[:n])
		b, off = b[n:], off+uint64(n)
	}
}

func (p *PCI) get16(off uint64) uint16 {
	var b [2]byte
	p.read(capCommon, off, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

func (p *PCI) get32(off uint64) uint32 {
	var b [4]byte
	p.read(capCommon, off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (p *PCI) put16(off uint64, v uint16) {
	p.write(capCommon, off, binary.LittleEndian.AppendUint16(nil, v))
}

func (p *PCI) put32(off uint64, v uint32) {
	p.write(capCommon, off, binary.LittleEndian.AppendUint32(nil, v))
}

// Type implements Registers.
func (p *PCI) Type() virtio.Type { return virtio.Type(p.Get16(0x02) - 0x1040) }

// Status implements Registers.
func (p *PCI) Status() uint8 {
	var b [1]byte
	p.read(capCommon, 20, b[:])
	return b[0]
}

// SetStatus implements Registers.
func (p *PCI) SetStatus(v uint8) { p.write(capCommon, 20, []byte{v}) }

// DeviceFeatures implements Registers.
func (p *PCI) DeviceFeatures() uint64 { return p.features(0, 4) }

// DriverFeatures implements Registers.
func (p *PCI) DriverFeatures() uint64 { return p.features(8, 12) }

func (p *PCI) features(sel, reg uint64) (f uint64) {
	for word := range uint32(2) {
		p.put32(sel, word)
		f |= uint64(p.get32(reg)) << (32 * word)
	}
	return f
}

// SetDriverFeatures implements Registers.
func (p *PCI) SetDriverFeatures(f uint64) {
	for word := range uint32(2) {
		p.put32(8, word)
		p.put32(12, uint32(f>>(32*word)))
	}
}

func (p *PCI) sel(queue int) { p.put16(22, uint16(queue)) }

// MaxSize implements Registers. It is that only until a smaller size is set.
func (p *PCI) MaxSize(queue int) uint16 {
	p.sel(queue)
	return p.get16(24)
}

// SetQueue implements Registers.
func (p *PCI) SetQueue(queue int, size uint16, desc, avail, used uint64) {
	p.sel(queue)
	p.put16(24, size)
	for off, addr := range map[uint64]uint64{32: desc, 40: avail, 48: used} {
		p.put32(off, uint32(addr))
		p.put32(off+4, uint32(addr>>32))
	}
}

// Enable implements Registers.
func (p *PCI) Enable(queue int) {
	p.sel(queue)
	p.put16(28, 1)
}

// Enabled implements Registers.
func (p *PCI) Enabled(queue int) bool {
	p.sel(queue)
	return p.get16(28) == 1
}

// ResetQueue implements Registers.
func (p *PCI) ResetQueue(queue int) {
	p.sel(queue)
	p.put16(58, 1)
}

// Disable implements Registers: PCI has no such thing.
func (p *PCI) Disable(int) bool { return false }

// Notify implements Registers.
func (p *PCI) Notify(queue int) {
	p.sel(queue)
	off := uint64(p.get16(30)) * p.notify
	p.NotifyAt(off, queue)
}

// NotifyAt is Notify for who knows the queue's address already, as drivers do.
func (p *PCI) NotifyAt(off uint64, queue int) {
	p.write(capNotify, off, binary.LittleEndian.AppendUint16(nil, uint16(queue)))
}

// Generation implements Registers.
func (p *PCI) Generation() uint32 {
	var b [1]byte
	p.read(capCommon, 21, b[:])
	return uint32(b[0])
}

// ReadConfig implements Registers.
func (p *PCI) ReadConfig(off uint32, b []byte) { p.read(capDevice, uint64(off), b) }

// WriteConfig implements Registers.
func (p *PCI) WriteConfig(off uint32, b []byte) { p.write(capDevice, uint64(off), b) }

// SetInterrupts implements Registers: vector 0 for the configuration, the others
// for the queues, as far as they go.
func (p *PCI) SetInterrupts(queues int) {
	p.isr.seen = 0
	if !p.useMSIX {
		return
	}
	for v := range p.Vectors {
		p.SetEntry(v, msiAddr, msiData+uint32(v), false)
	}
	p.Put16(p.MSIX+2, 0x8000)
	p.put16(16, 0)
	for q := range queues {
		p.sel(q)
		p.put16(26, uint16(min(q+1, p.Vectors-1)))
	}
}

// SetEntry writes an entry of the MSI-X table as Linux does: masked, address and
// data, and then the mask that is wanted.
func (p *PCI) SetEntry(v int, addr uint64, data uint32, masked bool) {
	p.Mask(v, true)
	p.putTable(v, 0, uint32(addr))
	p.putTable(v, 4, uint32(addr>>32))
	p.putTable(v, 8, data)
	p.Mask(v, masked)
}

// Mask sets a vector's mask bit.
func (p *PCI) Mask(v int, masked bool) {
	bit := uint32(0)
	if masked {
		bit = 1
	}
	p.putTable(v, 12, bit)
}

func (p *PCI) putTable(v int, off uint64, x uint32) {
	p.writeBAR(p.table+16*uint64(v)+off, binary.LittleEndian.AppendUint32(nil, x))
}

// Pending is a vector's pending bit.
func (p *PCI) Pending(v int) bool {
	var b [8]byte
	p.readBAR(p.pba+uint64(v)/64*8, b[:])
	return binary.LittleEndian.Uint64(b[:])>>(v%64)&1 != 0
}

// WaitVector waits for the message of a vector.
func (p *PCI) WaitVector(v int, timeout time.Duration) bool {
	return p.Host.WaitMSI(msiAddr, msiData+uint32(v), timeout)
}

// WaitQueue implements Registers.
func (p *PCI) WaitQueue(queue int, timeout time.Duration) bool {
	if p.useMSIX {
		return p.WaitVector(min(queue+1, p.Vectors-1), timeout)
	}
	return p.isr.wait(1, timeout)
}

// WaitConfig implements Registers.
func (p *PCI) WaitConfig(timeout time.Duration) bool {
	if p.useMSIX {
		return p.WaitVector(0, timeout)
	}
	return p.isr.wait(2, timeout)
}

// Space implements Registers.
func (p *PCI) Space() virtio.Window {
	return virtio.Window{Bus: virtio.MMIO, Addr: p.BAR, Size: p.BARSize}
}
