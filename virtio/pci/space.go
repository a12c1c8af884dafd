package pci

import (
	"encoding/binary"

	"tandem/virtio"
)

// Registers of a type 0 header. PCI 3.0, section 6.1.
const (
	regVendor    = 0x00
	regDevice    = 0x02
	regCommand   = 0x04
	regStatus    = 0x06
	regRevision  = 0x08
	regClass     = 0x09 // three bytes
	regCacheLine = 0x0c
	regBAR       = 0x10
	regSubVendor = 0x2c
	regSubDevice = 0x2e
	regCapPtr    = 0x34
	regIntLine   = 0x3c
	regIntPin    = 0x3d

	commandMemory  = 1 << 1
	commandMaster  = 1 << 2
	commandParity  = 1 << 6
	commandSERR    = 1 << 8
	commandIntxOff = 1 << 10

	statusInterrupt = 1 << 3
	statusCaps      = 1 << 4
)

// Where the capabilities lie: each on a multiple of 4, the first one at 0x40.
const (
	capMSIX   = 0x40 // 12 bytes
	capCommon = 0x50 // 16 bytes
	capNotify = 0x60 // 20 bytes
	capISR    = 0x74 // 16 bytes
	capDevice = 0x84 // 16 bytes
	capAccess = 0x94 // 20 bytes

	idVendor = 0x09 // PCI_CAP_ID_VNDR
	idMSIX   = 0x11 // PCI_CAP_ID_MSIX

	msixControl       = capMSIX + 2
	msixControlMask   = 1 << 14
	msixControlEnable = 1 << 15

	// struct virtio_pci_cfg_cap. virtio 1.2, section 4.1.4.9.
	accessBAR    = capAccess + 4
	accessOffset = capAccess + 8
	accessLength = capAccess + 12
	accessData   = capAccess + 16
)

// cfg_type of a virtio capability. virtio 1.2, section 4.1.4.
const (
	cfgCommon = 1
	cfgNotify = 2
	cfgISR    = 3
	cfgDevice = 4
	cfgAccess = 5
)

const (
	vendorVirtio = 0x1af4
	deviceBase   = 0x1040 // virtio 1.2, section 4.1.2
)

// classes are the class codes that a guest shows its user; drivers do not look at
// them.
var classes = map[virtio.Type]uint32{
	virtio.TypeNet:     0x020000, // Ethernet controller
	virtio.TypeBlk:     0x018000, // mass storage controller
	virtio.TypeFS:      0x018000,
	virtio.TypeConsole: 0x078000, // communication controller
	virtio.TypeVsock:   0x078000,
}

const classOther = 0xff0000

// space is the first 256 bytes of configuration space, and which bits of it
// software can write. What follows up to 4096 is for PCI Express and reads 0.
type space struct {
	bytes    [256]byte
	writable [256]byte
}

// read fills p with what is at off.
func (s *space) read(off uint16, p []byte) {
	clear(p)
	if int(off) < len(s.bytes) {
		copy(p, s.bytes[off:])
	}
}

// write changes the writable bits at off.
func (s *space) write(off uint16, p []byte) {
	for i, b := range p {
		if at := int(off) + i; at < len(s.bytes) {
			w := s.writable[at]
			s.bytes[at] = s.bytes[at]&^w | b&w
		}
	}
}

func (s *space) get16(off int) uint16    { return binary.LittleEndian.Uint16(s.bytes[off:]) }
func (s *space) get32(off int) uint32    { return binary.LittleEndian.Uint32(s.bytes[off:]) }
func (s *space) set16(off int, v uint16) { binary.LittleEndian.PutUint16(s.bytes[off:], v) }
func (s *space) set32(off int, v uint32) { binary.LittleEndian.PutUint32(s.bytes[off:], v) }

func (s *space) allow16(off int, bits uint16) {
	binary.LittleEndian.PutUint16(s.writable[off:], bits)
}

func (s *space) allow32(off int, bits uint32) {
	binary.LittleEndian.PutUint32(s.writable[off:], bits)
}

// newSpace lays out the header and the capabilities.
func newSpace(t virtio.Type, l layout, pin bool, gsi uint8) *space {
	s := &space{}
	id := deviceBase + uint16(t)
	s.set16(regVendor, vendorVirtio)
	s.set16(regDevice, id)
	s.set16(regSubVendor, vendorVirtio)
	s.set16(regSubDevice, id)
	s.bytes[regRevision] = 1 // not transitional
	class, ok := classes[t]
	if !ok {
		class = classOther
	}
	s.bytes[regClass], s.bytes[regClass+1], s.bytes[regClass+2] = byte(class), byte(class>>8), byte(class>>16)

	s.set16(regStatus, statusCaps)
	s.allow16(regCommand, commandMemory|commandMaster|commandParity|commandSERR|commandIntxOff)
	s.writable[regCacheLine] = 0xff
	s.writable[regIntLine] = 0xff
	s.bytes[regIntLine] = gsi
	if pin {
		s.bytes[regIntPin] = 1 // INTA#
	}

	// A memory BAR, 32 bits, not prefetchable: the low bits are 0. The bits below
	// its size cannot be written, which is how software finds it.
	s.allow32(regBAR+4*bar, ^uint32(l.size-1))
	s.capabilities(l)
	return s
}

// capabilities writes the list of capabilities. virtio 1.2, section 4.1.4.
func (s *space) capabilities(l layout) {
	s.bytes[regCapPtr] = capCommon
	s.virtioCap(capCommon, capNotify, 16, cfgCommon, barCommon, commonSize)
	s.virtioCap(capNotify, capISR, 20, cfgNotify, barNotify, barPage)
	s.set32(capNotify+16, notifySize)
	s.virtioCap(capISR, capDevice, 16, cfgISR, barISR, 1)
	s.virtioCap(capDevice, capAccess, 16, cfgDevice, barDevice, barPage)

	next := byte(0)
	if l.vectors > 0 {
		next = capMSIX
		s.bytes[capMSIX] = idMSIX
		s.set16(msixControl, uint16(l.vectors-1))
		s.allow16(msixControl, msixControlMask|msixControlEnable)
		s.set32(capMSIX+4, barTable|bar)
		s.set32(capMSIX+8, uint32(l.pba)|bar)
	}
	// The window into the BAR for those who cannot reach the BAR itself.
	s.virtioCap(capAccess, next, 20, cfgAccess, 0, 0)
	s.writable[accessBAR] = 0xff
	s.allow32(accessOffset, 0xffffffff)
	s.allow32(accessLength, 0xffffffff)
	s.allow32(accessData, 0xffffffff)
}

// virtioCap writes a struct virtio_pci_cap.
func (s *space) virtioCap(at int, next, size, kind byte, offset, length uint32) {
	s.bytes[at], s.bytes[at+1], s.bytes[at+2], s.bytes[at+3] = idVendor, next, size, kind
	s.bytes[at+4] = bar
	s.set32(at+8, offset)
	s.set32(at+12, length)
}

// reset clears what software wrote, but for the interrupt line: it is a note of the
// firmware's to the guest.
func (s *space) reset() {
	line := s.bytes[regIntLine]
	for i, w := range s.writable {
		s.bytes[i] &^= w
	}
	s.bytes[regIntLine] = line
}
