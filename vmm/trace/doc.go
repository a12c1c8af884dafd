// Package trace tells what a machine does, as it does it, and sums it up at the
// end.
//
// There are four kinds of event, from the outside in:
//
//	kvm     what the monitor asks of the kernel: each ioctl, its argument, result
//	        and duration
//	exits   why a vCPU left the guest, and how long it had been in it
//	bus     which device answered an access, where, and with which bytes
//	virtio  what happens on a virtqueue: kick, chain, used, call
//
// One store of the guest to a virtio doorbell shows how they nest:
//
//	exit   vcpu 0: MMIO write gpa 0xc0003000 size 2 data 00 00
//	bus    mmio disk0: write 0xc0003000 = 00 00
//	virtio disk0 queue 0: kick seen, 1 waiting
//	virtio disk0 queue 0: chain popped head 0 index 0 length 529
//
// A [Tracer] hands out a small recorder to each place that has something to
// tell: nil for a kind that is off, so that being off costs one comparison. Each
// recorder counts for itself; what they share is only the writer.
package trace
