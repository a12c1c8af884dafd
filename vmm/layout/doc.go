// Package layout is the machine's address map: which guest-physical address,
// I/O port and interrupt line belongs to whom. It holds constants and nothing
// that runs, so that the package that describes the machine to the guest (its
// ACPI tables) and the package that is the machine read the same numbers.
//
//	guest-physical addresses                      what answers
//	0x0000_0000 ┌──────────────────────────────┐
//	            │ RAM, up to 3 GiB             │   a memory slot; no exit
//	0xC000_0000 ├──────────────────────────────┤
//	            │ PCI memory window, 512 MiB   │   BARs
//	0xE000_0000 ├──────────────────────────────┤
//	            │ ECAM, bus 0, 1 MiB           │   PCI configuration space
//	0xFEB0_0000 ├──────────────────────────────┤
//	            │ virtio-mmio, 4 KiB a slot    │   virtio-mmio registers
//	0xFEC0_0000 ├──────────────────────────────┤
//	            │ IOAPIC                       │   KVM, in the kernel
//	0xFEE0_0000 ├──────────────────────────────┤
//	            │ local APICs                  │   KVM, in the kernel
//	0xFFFB_C000 ├──────────────────────────────┤
//	            │ identity map page, TSS       │   KVM's own scratch (Intel)
//	0x1_0000_0000 ─────────────────────────────┤
//	            │ the rest of RAM              │   a second memory slot
//	            └──────────────────────────────┘
//
// The gap between 3 GiB and 4 GiB is the "hole": 32-bit devices must be
// reachable below 4 GiB, so RAM makes room for them and goes on above.
//
// Everything in the hole but the two APICs has no memory behind it, so that
// an access there leaves the guest (KVM_EXIT_MMIO) and is carried to the
// device by the MMIO bus; ports (KVM_EXIT_IO) go over the PIO bus.
package layout
