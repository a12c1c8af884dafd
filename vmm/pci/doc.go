// Package pci is the host bridge: how a processor reaches the configuration
// space of the functions on PCI bus 0.
//
// Every function has 4 KiB of configuration space that tells what it is and
// where its registers shall be. A PC has two ways to it:
//
//	ports     0xCF8: 1<<31 | bus<<16 | device<<11 | function<<8 | register
//	          0xCFC: the four bytes there (the first 256 of a function)
//	ECAM      base + (bus<<20 | device<<15 | function<<12 | register)
//
//	             ┌─ 00.0 host bridge (this package)
//	ports ─┐     ├─ 01.0 virtio-blk ── BAR ──► window on the MMIO bus
//	       ├─ Bus┤
//	ECAM ──┘     └─ 02.0 virtio-rng ── BAR ──► ...
//
// Where no function is, reads give all ones, which is how a guest finds out.
//
// A PC's firmware gives each function its addresses before the system starts:
// it writes ones to a base address register (BAR), reads back which bits
// stuck (which tells the size), and writes an address. There is no firmware
// here, so [Bus.Assign] does it, through the same registers that a guest uses.
// The guest may do it again its own way.
package pci
