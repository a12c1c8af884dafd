// Package bus carries a guest's access to the device that owns the address.
//
// An x86 machine has two address spaces that devices live in: the I/O ports
// (64 Ki of them, reached by IN and OUT) and physical memory (where there is
// no RAM). A vCPU that touches either leaves the guest, and the monitor has
// to find who answers:
//
//	vCPU ── KVM_EXIT_IO ───► PIO bus ──┬─ 0x3f8-0x3ff ─► serial
//	                                   └─ 0x600-0x602 ─► power
//	vCPU ── KVM_EXIT_MMIO ─► MMIO bus ─┬─ 0xe0000000 … ─► PCI configuration
//	                                   └─ 0xfeb00000 … ─► virtio-mmio
//
// A [Bus] is such a space: an ordered set of windows that never overlap, each
// with a [Handler]. Looking up takes no lock, as all vCPUs do it at once;
// windows come and go rarely (a guest that moves a BAR), by replacing the
// whole table.
//
// What nobody claims behaves as an open bus does: reads give all ones, writes
// go nowhere. An access that straddles the edge of a window is split there, as
// a real bus bridge would: each window sees its own bytes.
package bus
