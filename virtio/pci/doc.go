// Package pci is the virtio transport over PCI (virtio 1.2, section 4.1): a device
// as a PCI function, for drivers of virtio 1.0 and later ("modern").
//
//	configuration space              BAR 0 (memory, 32 bits)
//
//	0x00 header, BAR, command        0x0000 common configuration: features, status, queues
//	0x40 MSI-X capability  --------> 0x4000 table, then pending bits
//	0x50 where the structures are -> 0x1000 ISR status
//	     (virtio capabilities)       0x2000 the device's configuration
//	0x94 a window into the BAR       0x3000 doorbells, 4 bytes a queue
//
// # Addresses
//
// The machine, as a firmware would, writes the BAR and turns memory decoding on; a
// guest may move it. Each change maps the BAR's window anew through the
// [virtio.Host], and binds each queue's doorbell to the eventfd that wakes its
// goroutine: the address alone says which queue, so that KVM need not look at the
// value. While the BAR holds all ones, as it does when a guest finds out its size,
// it is decoded nowhere.
//
// # Interrupts
//
// With MSI-X there is a vector a queue and one for configuration changes; the
// driver maps them as it likes. Behind a vector is an eventfd of the host. To mask
// a vector is to take its irqfd away: signals then stay in the eventfd's counter,
// which is what the pending bit array shows, and are delivered when the irqfd comes
// back.
//
// Without MSI-X there is the pin INTA#, which is high while the ISR status byte is
// not zero. Reading the byte clears it.
//
// # What is left out
//
// Legacy and transitional drivers, notification data, shared memory regions, and
// power management. The bus master bit can be written and has no effect: firmware
// and kernels that forget it would wait for ever, and a guest gains nothing by it
// that it does not have by a reset.
package pci
