package pci

import "encoding/binary"

// Offsets in a function's configuration space (PCI 3.0, 6.1).
const (
	cfgVendor     = 0x00
	cfgDevice     = 0x02
	cfgCommand    = 0x04
	cfgRevision   = 0x08
	cfgClass      = 0x0A // subclass and class
	cfgHeaderType = 0x0E
	cfgBAR        = 0x10

	commandMemory = 1 << 1
	headerNormal  = 0x00
	headerMulti   = 0x80 // of the header type: several functions

	classHostBridge = 0x0600
)

// Red Hat's vendor id, and the device id that it has set aside for a generic
// PCI Express host bridge.
const (
	vendorRedHat = 0x1B36
	deviceBridge = 0x0008
)

// hostBridge is device 0: an identity, so that guests believe in the bus (Linux
// looks for a host bridge before it trusts port access). Nothing in it can be
// written.
type hostBridge [64]byte

func newHostBridge() *hostBridge {
	h := &hostBridge{}
	binary.LittleEndian.PutUint16(h[cfgVendor:], vendorRedHat)
	binary.LittleEndian.PutUint16(h[cfgDevice:], deviceBridge)
	binary.LittleEndian.PutUint16(h[cfgClass:], classHostBridge)
	return h
}

// ConfigRead reads the header; the rest of the space is zero.
func (h *hostBridge) ConfigRead(off uint16, p []byte) {
	clear(p)
	if int(off) < len(h) {
		copy(p, h[off:])
	}
}

// ConfigWrite does nothing.
func (h *hostBridge) ConfigWrite(uint16, []byte) {}
