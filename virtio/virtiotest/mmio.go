package virtiotest

import (
	"encoding/binary"
	"time"

	"tandem/virtio"
)

// MMIO is a driver for the MMIO transport.
type MMIO struct {
	Host *Host
	Base uint64
	irq  isrWaiter
}

// NewMMIO makes a driver for the device whose window is at base.
func NewMMIO(h *Host, base uint64, line *Line) *MMIO {
	m := &MMIO{Host: h, Base: base}
	m.irq = isrWaiter{line: line, take: func() uint32 {
		v := m.Get(0x060)
		m.Set(0x064, v)
		return v
	}}
	return m
}

// Get reads a register.
func (m *MMIO) Get(off uint64) uint32 {
	var b [4]byte
	m.Host.Read(virtio.MMIO, m.Base+off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// Set writes a register.
func (m *MMIO) Set(off uint64, v uint32) {
	m.Host.Write(virtio.MMIO, m.Base+off, binary.LittleEndian.AppendUint32(nil, v))
}

// Type implements Registers.
func (m *MMIO) Type() virtio.Type { return virtio.Type(m.Get(0x008)) }

// Status implements Registers.
func (m *MMIO) Status() uint8 { return uint8(m.Get(0x070)) }

// SetStatus implements Registers.
func (m *MMIO) SetStatus(v uint8) { m.Set(0x070, uint32(v)) }

// DeviceFeatures implements Registers.
func (m *MMIO) DeviceFeatures() uint64 {
	var f uint64
	for sel := range uint32(2) {
		m.Set(0x014, sel)
		f |= uint64(m.Get(0x010)) << (32 * sel)
	}
	return f
}

// DriverFeatures implements Registers: the transport cannot tell.
func (m *MMIO) DriverFeatures() uint64 { return 0 }

// SetDriverFeatures implements Registers.
func (m *MMIO) SetDriverFeatures(f uint64) {
	for sel := range uint32(2) {
		m.Set(0x024, sel)
		m.Set(0x020, uint32(f>>(32*sel)))
	}
}

func (m *MMIO) sel(queue int) { m.Set(0x030, uint32(queue)) }

// MaxSize implements Registers.
func (m *MMIO) MaxSize(queue int) uint16 {
	m.sel(queue)
	return uint16(m.Get(0x034))
}

// SetQueue implements Registers.
func (m *MMIO) SetQueue(queue int, size uint16, desc, avail, used uint64) {
	m.sel(queue)
	m.Set(0x038, uint32(size))
	for off, addr := range map[uint64]uint64{0x080: desc, 0x090: avail, 0x0a0: used} {
		m.Set(off, uint32(addr))
		m.Set(off+4, uint32(addr>>32))
	}
}

// Enable implements Registers.
func (m *MMIO) Enable(queue int) {
	m.sel(queue)
	m.Set(0x044, 1)
}

// Enabled implements Registers.
func (m *MMIO) Enabled(queue int) bool {
	m.sel(queue)
	return m.Get(0x044) == 1
}

// ResetQueue implements Registers.
func (m *MMIO) ResetQueue(queue int) {
	m.sel(queue)
	m.Set(0x0c0, 1)
}

// Disable implements Registers.
func (m *MMIO) Disable(queue int) bool {
	m.sel(queue)
	m.Set(0x044, 0)
	return true
}

// Notify implements Registers.
func (m *MMIO) Notify(queue int) { m.Set(0x050, uint32(queue)) }

// Generation implements Registers.
func (m *MMIO) Generation() uint32 { return m.Get(0x0fc) }

// ReadConfig implements Registers.
func (m *MMIO) ReadConfig(off uint32, p []byte) {
	m.Host.Read(virtio.MMIO, m.Base+0x100+uint64(off), p)
}

// WriteConfig implements Registers.
func (m *MMIO) WriteConfig(off uint32, p []byte) {
	m.Host.Write(virtio.MMIO, m.Base+0x100+uint64(off), p)
}

// SetInterrupts implements Registers.
func (m *MMIO) SetInterrupts(int) { m.irq.seen = 0 }

// WaitQueue implements Registers. All queues share the line.
func (m *MMIO) WaitQueue(_ int, timeout time.Duration) bool { return m.irq.wait(1, timeout) }

// WaitConfig implements Registers.
func (m *MMIO) WaitConfig(timeout time.Duration) bool { return m.irq.wait(2, timeout) }

// Space implements Registers.
func (m *MMIO) Space() virtio.Window {
	return virtio.Window{Bus: virtio.MMIO, Addr: m.Base, Size: 0x1000}
}
