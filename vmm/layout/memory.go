package layout

// Guest-physical addresses.
const (
	// PageSize is the x86 base page, the grain of memory slots.
	PageSize = 4096

	// HoleStart is where low RAM ends at the latest, HoleEnd where the RAM
	// that did not fit below it goes on.
	HoleStart = 0xC000_0000 // 3 GiB
	HoleEnd   = 0x1_0000_0000

	// PCIWindow is the 32-bit window that BARs are placed in.
	PCIWindow     = 0xC000_0000
	PCIWindowSize = 0x2000_0000

	// ECAM is PCI Express' memory-mapped configuration space. One bus needs
	// 32 devices of 8 functions of 4 KiB.
	ECAM     = 0xE000_0000
	ECAMSize = 0x10_0000

	// VirtioMMIO is the first virtio-mmio slot; slot n is n*VirtioMMIOSize
	// further.
	VirtioMMIO     = 0xFEB0_0000
	VirtioMMIOSize = 0x1000

	IOAPIC     = 0xFEC0_0000
	IOAPICSize = 0x1000
	LAPIC      = 0xFEE0_0000
	LAPICSize  = 0x1000

	// KVMIdentityMap and KVMTSS are the four pages that KVM on Intel asks
	// the monitor to leave free: a page table for real mode without
	// "unrestricted guest", and a task state segment for virtual-8086 mode
	// (KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR).
	KVMIdentityMap     = 0xFFFB_C000
	KVMIdentityMapSize = 0x1000
	KVMTSS             = 0xFFFB_D000
	KVMTSSSize         = 0x3000

	// ResetFlag is the BIOS data area's word that tells a warm reboot
	// (ResetFlagWarm) from a cold one (0). Linux writes it just before it
	// resets the machine: see [tandem/vmm]'s account of how a panic is told
	// from a reboot.
	ResetFlag     = 0x472
	ResetFlagWarm = 0x1234
)

// Range is a stretch of guest-physical addresses.
type Range struct {
	GPA  uint64
	Size uint64
}

// End is the first address after the range.
func (r Range) End() uint64 { return r.GPA + r.Size }

// RAM is where a machine with size bytes of memory has them: one range up to
// the hole, and a second from 4 GiB on for what did not fit.
func RAM(size uint64) []Range {
	if size <= HoleStart {
		return []Range{{0, size}}
	}
	return []Range{{0, HoleStart}, {HoleEnd, size - HoleStart}}
}
