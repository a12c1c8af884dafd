// Package net is the virtio network card (virtio 1.2, section 5.1): Ethernet frames between a guest and a tap, or
// another backend, over pairs of virtqueues.
//
//	guest                    guest memory                    device                     host
//
//	transmitq  +--------------------------------+     kick
//	           | header 12 | frame . . . . . .  | ---------------> writev -----------> tap
//	           +--------------------------------+
//	receiveq   +--------------------------------+     call
//	           | header 12 | frame . . . . . .  | <--------------- readv <------------ tap
//	           +--------------------------------+
//	controlq   | class | command | data | ack   | <-> filters, VLANs, queue pairs, offloads
//
// # The header, and why nothing is computed here
//
// Before each frame stands a struct virtio_net_hdr_v1 (section 5.1.6): it says which checksum is still to be computed,
// and how a segment of up to 64 KiB is to be cut into packets. Linux invented it for virtio and gave its tap the same
// one (TUNSETIFF with IFF_VNET_HDR, TUNSETVNETHDRSZ): a device may hand header and frame from one to the other as they
// are, in one system call each way, with the guest's own buffers in its vector. A large TCP segment then crosses the
// guest's stack, the device, the tap and the bridge in one piece, and if its receiver is on the same machine it is never
// cut at all, nor summed. The frame is copied once, by the kernel, between the guest's pages and an sk_buff.
//
// # Receiving
//
// A driver has posted buffers before it knows what comes. With VIRTIO_NET_F_MRG_RXBUF they are small, and a frame is
// spread over as many as it needs: their number stands in the header of the first. The device cannot ask a tap how long
// its next frame is. So it keeps a hand of buffers that would do for the longest, reads into all of them at once, and
// gives back those that were filled; the rest stay in its hand for the next frame. Behind the hand stands a spill of the
// device's own, for a driver that posts fewer: what lands there is copied into the buffers that come next.
//
// # Four data paths
//
// The same device, four ways for a packet to travel:
//
//	exit        the kick is an exit, the vCPU's own thread writes to the tap (virtio.Notified)
//	eventfd     KVM turns the kick into an eventfd, which wakes a thread of the device
//	vhost       the kernel serves the rings: package vhost/kernel is the device's RingServer
//	vhost-user  another process does: package vhost/user
//
// In the last two the device keeps its registers and its control queue, and gives away its data queues.
//
// # What a driver can do wrong
//
// A frame that is too short or too long, or whose header makes no sense to the tap, is dropped and counted (Stats). A
// control command that is malformed or was not agreed on is answered with VIRTIO_NET_ERR. A chain that cannot be a
// request of its queue at all, such as a control command without room for the answer, is a broken ring: the device needs
// a reset.
package net
