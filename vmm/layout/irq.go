package layout

// Global system interrupts. KVM's in-kernel IOAPIC has 24 pins, GSIs 0-23;
// numbers above are free for message-signalled interrupts.
const (
	IOAPICPins = 24

	COM2GSI = 3
	COM1GSI = 4
	RTCGSI  = 8

	// INTxGSI is the first of the four lines that the PCI functions without
	// MSI share: pin p (0 is INTA) of device d is on INTxGSI + (d+p)%4.
	INTxGSI   = 16
	INTxLines = 4

	// MSIGSI is the first GSI that a message is routed to.
	MSIGSI = IOAPICPins

	// MaxCPUs is how many vCPUs a machine may have. APIC ids are 8 bits wide
	// without interrupt remapping, and 255 is broadcast; 32 stays far from
	// either.
	MaxCPUs = 32
)

// virtioMMIOGSIs are the IOAPIC pins that nothing else on this machine owns,
// in the order that virtio-mmio slots get them.
var virtioMMIOGSIs = [...]uint32{5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 16, 17, 18, 19}

// VirtioMMIOSlots is how many virtio-mmio devices a machine can have: each
// has an interrupt pin of its own. The last four pins are the ones that PCI
// functions without MSI share, so they come into use only when the others
// are gone.
const VirtioMMIOSlots = len(virtioMMIOGSIs)

// VirtioMMIOGSI is the GSI of virtio-mmio slot n.
func VirtioMMIOGSI(n int) uint32 { return virtioMMIOGSIs[n] }

// VirtioMMIOAddr is the address of virtio-mmio slot n.
func VirtioMMIOAddr(n int) uint64 { return VirtioMMIO + uint64(n)*VirtioMMIOSize }

// PCIINTxGSI is the GSI of a PCI device's interrupt pin: device is its number
// on bus 0, pin 0 for INTA to 3 for INTD.
func PCIINTxGSI(device, pin int) uint32 {
	return INTxGSI + uint32(device+pin)%INTxLines
}
