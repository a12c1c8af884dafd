// Package queue is the device's side of a split virtqueue (virtio 1.2, section
// 2.7): the three tables through which a driver hands buffers to a device and gets
// them back.
//
//	            guest memory
//	driver      +------------------------------------------+      device
//	writes ---> | descriptor table   addr len flags next   | ---> reads
//	            | 0: 0x8000  16  NEXT           1 --.      |
//	            | 1: 0x9000 512  NEXT|WRITE     2 --|-.    |
//	            | 2: 0xa000   1  WRITE              v v    |
//	            |                                  chain 0 |
//	writes ---> | available ring   flags idx [0 . . .] ev  | ---> Pop
//	reads  <--- | used ring        flags idx [0,513 . .] ev| <--- Push, Publish
//	            +------------------------------------------+
//
// This is a disk's read of one sector, from offer to answer:
//
//   - The driver fills descriptors, puts the number of the first one (the chain's
//     head) into the next slot of the available ring, and then raises the ring's
//     idx. The indices count all chains ever, modulo 65536; the slot is the index
//     modulo the queue's size.
//   - The device pops the chain: [Queue.Pop] follows the descriptors, checks each of
//     them, and yields slices of guest memory.
//   - The device puts head and length into the used ring ([Queue.Push]) and raises
//     that ring's idx ([Queue.Publish]).
//
// Neither side ever waits for the other here: a kick tells the device that the
// available ring moved, a call tells the driver that the used ring did. Both are
// costly, so each side says when it can do without: by a flag in its ring, or, with
// VIRTIO_F_EVENT_IDX, by the index ("ev" above) whose passing it wants to be told
// of.
//
// # What a driver can do wrong
//
// Everything in the tables may change while it is being read, and may be wrong. A
// descriptor is loaded once and the loaded value is checked; the checks are all in
// [Queue.Pop] and what it calls: a head or next beyond the table, a loop, a chain
// that is longer than it may be or has more than 4 GiB, a piece of no length, a
// piece outside guest memory, a readable piece after a writable one, an indirect
// table that was not agreed on, is inside another one, continues in the main table,
// is empty or not a whole number of descriptors; an available index that moves by
// more than the queue holds. The answer to each is an [*Error], after which the
// queue is dead: its device asks the driver for a reset.
//
// # Taking a queue over
//
// Whoever serves a queue can stop, and another go on: [Queue.Next] of the one is
// [Config].Start of the other. One that died cannot be asked. What it knew and guest
// memory does not are the chains that it popped and had not pushed. If it answered in
// order, they are those from the used index ([Queue.UsedIndex]) on, and popping them
// again is all there is to do. If not, somebody has to have kept an account: a
// [Tracker], told of each chain, and Config.Resume, which has them popped first.
//
// # Order
//
// The rings are shared with other processors without locks. What x86 gives (loads
// are not reordered with loads, nor stores with stores) is enough but for one
// place: a side that publishes an index and then reads whether the other side wants
// to be woken. There the processor may do the load first, both sides may see the
// other's old value, and both would sleep for ever. That store needs a full fence
// behind it.
//
// Go has no 16-bit atomics, and the compiler is free to reorder plain loads and
// stores. So the shared indices and flags are accessed by two functions in assembly
// (package atomic16), which the compiler moves no memory access across: a load that
// acquires, and a store that releases and is a full fence. All else in the rings is
// plain memory that one of these two orders.
//
// The race detector does not know this protocol. Rings that two goroutines share,
// as in tests, have to lie in a mapping (memory.Map), which it does not watch.
package queue
