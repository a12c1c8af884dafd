// Package virtio is what all virtio devices and transports have in common: how a
// guest's driver and a device of the monitor exchange buffers through memory that
// both see, and wake each other. The specification is virtio 1.2 (OASIS).
//
// A paravirtual device has no hardware to imitate. Its driver knows that it runs in
// a guest, so that the two can agree on what is cheap between a guest and its host:
// memory is free, and every register access is an exit from the guest that costs
// microseconds. A virtio device therefore has few registers, which are used to set
// it up, and one or more virtqueues in guest memory, through which all data goes.
//
//	guest                     guest memory                       host
//
//	         1 offer    +-------------------------+  3 pop
//	driver -----------> | descriptors             | -----------> device
//	  |                 | available ring: heads   |                |
//	  |    <----------- | used ring: heads, bytes | <-----------   |
//	  |      6 take     +-------------------------+  4 publish     |
//	  |                                                            |
//	  +-- 2 kick: a store --> doorbell --> ioeventfd ------------->+
//	  +<---- interrupt <-------- irqfd <-- eventfd -- 5 call: -----+
//
// # A request, step by step
//
//  1. The driver writes descriptors (address, length, direction) for a buffer, puts
//     the first one's number into the available ring and raises its index.
//  2. It kicks: it writes to the queue's doorbell, an address that belongs to the
//     transport. KVM knows the address and signals an eventfd, without leaving the
//     kernel (KVM_IOEVENTFD); otherwise the write is an exit to the monitor.
//  3. The queue's thread wakes, pops the chain and checks every address. What
//     it gets are slices of guest memory: a disk reads its file right into them.
//  4. It puts the chain into the used ring and raises that ring's index.
//  5. It calls: it signals an eventfd that KVM turns into an interrupt (KVM_IRQFD).
//  6. The driver's interrupt handler takes the chain out of the used ring.
//
// # Suppression
//
// Steps 2 and 5 are the costly ones, and under load most of them are not needed: a
// device that is at work looks at the ring again before it sleeps, and so does the
// driver. Each side says in its ring whether it wants to be woken, by a flag, or by
// the index from which on it does (VIRTIO_F_EVENT_IDX). One kick then covers many
// requests. The trap is the moment of falling asleep: "wake me", and then look once
// more, with a full memory fence between the two. Package queue has the details.
//
// # Transports
//
// How a driver finds the device, agrees on features, says where the queues are,
// kicks and is called is the transport's business. There are two:
//
//   - PCI (package pci): the registers lie in a BAR, capabilities say where; each
//     queue has its own doorbell and its own message-signalled interrupt.
//   - MMIO (package mmio): a page of registers at a place that the machine
//     announces (ACPI), one doorbell, and one interrupt line with a status
//     register.
//
// Both are thin: the state behind the registers, from reset over DRIVER_OK to
// reset, is one (internal/control). A transport asks the machine for what it needs
// through a [Host]: windows of addresses, doorbells, interrupts. A [Device] knows
// neither of them. It is given guest memory and queues by [Device.Activate], and
// gives them up in [Device.Reset]; most devices leave the loop around their queues
// to [Workers].
//
// # Who trusts whom
//
// Nobody trusts the driver. It may write any register at any time with any value,
// from several processors at once, and change the rings and buffers while they are
// being looked at. The answers are: what makes no sense at that moment has no
// effect; a request that cannot be carried out comes back with an error, if the
// device's kind has such a thing; a ring that makes no sense is a [queue.Error],
// upon which the device sets DEVICE_NEEDS_RESET, tells the driver by a
// configuration interrupt, and leaves the queues alone until the driver resets it.
// No other device notices.
//
// # Stamps
//
// A [queue.Observer] is told of each of the steps above as it happens, with queue,
// head, available index and length, which together name a request inside the
// monitor. It is a nil check where nobody listens.
package virtio
