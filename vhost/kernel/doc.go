// Package kernel is the kernel's vhost: virtqueues that a thread of the kernel serves,
// in the memory of the process that asked it to. linux/vhost.h.
//
//	this process                        kernel
//
//	Open      VHOST_SET_OWNER --------> a worker thread, which uses this
//	                                    process's memory
//	Activate  VHOST_SET_FEATURES
//	          VHOST_SET_MEM_TABLE ----> guest address -> address of this process
//	  for each ring:
//	          VHOST_SET_VRING_NUM
//	          VHOST_SET_VRING_BASE
//	          VHOST_SET_VRING_ADDR
//	          VHOST_SET_VRING_CALL ---> eventfd: irqfd <--------.
//	          VHOST_SET_VRING_KICK ---> eventfd: ioeventfd --.   |
//	          VHOST_NET_SET_BACKEND --> tap                  |   |
//	                                     ^                   v   |
//	                                     `--------------- worker thread
//	Reset     VHOST_NET_SET_BACKEND -1  stops, and returns when it has
//
// A [Device] is one open file and its ioctls, one method each, in no order but the
// kernel's own. [Net] and [Vsock] put them in order, for the two devices that the
// kernel has: a network card, whose packets go to and come from a tap, and a socket
// device, whose guest speaks with the host's AF_VSOCK sockets. Both are virtio's
// RingServer; Vsock is a whole device.
//
// # Without a guest
//
// Nothing of this has to do with KVM. The kernel sees memory, rings and eventfds, and
// whoever writes descriptors into that memory is a driver: the tests of this package
// do, and send packets through a tap with no VM anywhere.
//
// # What to know
//
//   - Features are of three kinds: those of the ring, which the kernel has to know;
//     the few of the device's that change what the rings hold (VIRTIO_NET_F_MRG_RXBUF
//     changes the header's size); and [FeatureLogAll] and [FeatureNetVirtioHdr], which
//     no driver sees. All others (offloads, the control queue) are between the driver
//     and the device, or the tap: the kernel refuses bits that it does not have.
//   - A packet begins with a header (struct virtio_net_hdr, 12 bytes with
//     VIRTIO_F_VERSION_1). The kernel passes it on to the tap, which has to be told of
//     its size (IFF_VNET_HDR, TUNSETVNETHDRSZ), or leaves it out (NetSpec.Header).
//   - A vhost-net device has one pair of rings. Several pairs are several devices,
//     each with a queue of one tap.
//   - Used indices begin where the used ring stands in memory; only the available
//     index is told (VHOST_SET_VRING_BASE).
//   - Writes of the kernel to guest memory are not seen by KVM's log of dirty pages. vhost keeps one of its own
//     (package dirty, [Net.SetLog]). vhost-vsock knows its ioctls, but marks the used rings alone: its buffers are
//     taken without their guest addresses. So Vsock has no such method.
//   - A driver that breaks its ring has the ring's error eventfd signalled, and
//     nothing else happens: the device has failed, with [ErrFailed].
//   - A worker serves all rings of its device. Since Linux 6.5 rings can have workers
//     of their own (Device.NewWorker).
package kernel
