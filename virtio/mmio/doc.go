// Package mmio is the virtio transport over a page of registers (virtio 1.2,
// section 4.2, version 2), for machines without PCI, or for those who want to start
// faster than it takes to look for functions on a bus.
//
//	0x000  identity: "virt", version, device, vendor
//	0x010  features: a selector and 32 bits, for device and driver
//	0x030  queues: a selector, size, ready, addresses
//	0x050  doorbell: write a queue's number        -> eventfd, matched by value
//	0x060  interrupt status, and acknowledge       -> one line for all
//	0x070  device status: 0 resets
//	0x0fc  generation of the configuration
//	0x100  the device's configuration
//
// A driver cannot find such a device by itself: the machine announces it, by ACPI
// (LNRO0005) or on the kernel's command line.
//
// All queues share one interrupt, and the handler reads from the status register
// why it was called. The register has to be set before the line is raised, so a
// call takes this process's help: there is no eventfd that another could signal in
// its place, as MSI-X has. This is what makes PCI the faster transport.
package mmio
