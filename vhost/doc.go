// Package vhost is about virtqueues that are served elsewhere: not by the process
// that runs the guest, but by the kernel (package kernel) or by another process
// (package user and those below it).
//
// A virtio device has two halves. One is its registers: features, status, where the
// queues are. It is used a few times in a guest's life. The other is its queues,
// which all data goes through, and all that those need is guest memory, two eventfds
// each and somebody who reads descriptors. Nothing says that the two halves have to
// be at the same place:
//
//	              guest
//	        registers   rings in guest memory
//	            |         |      ^       |
//	exits       |    kick |      | call  | the same memory
//	            v         v      |       v
//	      +-----------+  eventfd eventfd    +-------------------------------+
//	      | monitor   |         \  \        | who serves the rings          |
//	      | transport |          \  `-------|                               |
//	      | device    | ---------->---------|  kernel: a thread, a tap      |
//	      +-----------+   control:          |  user: a process, anything    |
//	                      ioctl or socket   +-------------------------------+
//
// The monitor keeps the registers, and hands over the rest when the driver sets
// DRIVER_OK: which features were agreed upon, where guest memory is, where each ring
// is in it, which eventfd the guest's kicks signal (KVM_IOEVENTFD) and which one
// interrupts it (KVM_IRQFD). From then on a packet passes the monitor by: a kick wakes
// the kernel's thread or the other process, and its call interrupts the guest, without
// a single instruction of the monitor. When the driver resets the device, the monitor
// takes all of it back.
//
// # The same words twice
//
// The kernel's vhost came first (2009), as a handful of ioctls. vhost-user (2014)
// sends the same requests, by the same names, over a Unix socket, with descriptors in
// place of what the kernel could look up by itself: memory goes as the files that it
// is mapped from. Both give back one number: GET_VRING_BASE, the index at which
// whoever serves the ring next has to go on.
//
//	                        kernel                     user
//	memory                  addresses of this process  files, and where they are mapped
//	rings                   addresses of this process  addresses of the front-end's process
//	descriptors             numbers                    SCM_RIGHTS
//	configuration space     the monitor's              CONFIG: either end's
//	who may die             nobody                     the back-end: see package inflight
//
// # In the monitor
//
// A device that does not serve its own queues looks like any other. What
// virtio.Device.Activate is given has all that is to be handed over; a device with a
// queue of its own beside those (a network device's control queue) hands the others
// to a virtio.RingServer. So the transports, and the suite of tests that all devices
// pass, know nothing of vhost.
//
// An interrupt may have no eventfd: an MMIO device, or a PCI device without MSI-X,
// has to set a bit in a status register first. [Call] is the eventfd for either case.
package vhost
