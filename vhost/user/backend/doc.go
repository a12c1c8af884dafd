// Package backend is the device's end of vhost-user: it serves a virtio.Device, the
// same code that serves a guest of tandem's, to the monitor of somebody else.
//
//	front-end            Server                               virtio.Device
//
//	SET_MEM_TABLE  --->  maps the files: a memory.Space ---.
//	SET_VRING_*    --->  a queue.Queue in that space ------+-->  Activate
//	                     kick: an eventfd -----------------'     StartQueue
//	GET_VRING_BASE --->  <------------------------------------   StopQueue
//	GET_CONFIG     --->  <------------------------------------   ReadConfig
//	(closes)       --->  unmaps  <----------------------------   Reset
//
// A [Server] takes one front-end after the other, for as long as it lives; each finds
// the device reset. All that the front-end says is carried out by one goroutine, in
// order; the device's own goroutines wait for the kicks.
//
// A ring runs when it has its addresses, a kick and memory, and is enabled. (The
// specification has it start with the first kick: to look before that does no harm,
// and helps a driver whose kick was lost with another back-end.) It begins where its
// used index stands in memory: what others took and did not answer is taken again,
// first those that the area for requests in flight names, in their order.
//
// Memory that changes under rings that run stops them for a moment. So does the log of dirty pages that is switched on
// or off (package dirty): without one, the device pays nothing for it.
//
// # What a front-end can do wrong
//
// Everything it says is checked, and a request that makes no sense is refused by name:
// with an answer if one was asked for, else by the end of the connection. Descriptors
// that do not belong to a message are closed. What is left is what it can do later, to
// what it shares:
//
//   - It can cut the file of its memory short. A touch of what is gone is SIGBUS, the
//     end of any C program. A file that can be sealed is (F_SEAL_SHRINK); for others
//     all code that touches the memory runs under memory.Guard, and the ring, or the
//     session, ends with an error.
//   - It can take kicks away again, among them one that would wake a goroutine which
//     is to end. So goroutines wait on a duplicate of the eventfd, which is closed.
//   - It can fill the counter of an eventfd, so that to signal it would wait for ever.
//     Signals here never wait.
//   - It can send a pipe or a file where an eventfd belongs. Only eventfds are taken,
//     and only regular files as memory. (That asks /proc.)
//   - It can stop reading what it is sent. A request to it waits a second, and then the
//     channel is closed.
//   - Its guest can break the rings, as in any device: the device fails, and says so
//     by the ring's error eventfd and in the status.
//
// Not offered: post-copy, an eventfd that is signalled for each page of the log (SET_LOG_FD), an IOMMU, packed rings, polling in place of a kick, and drivers without VIRTIO_F_VERSION_1.
package backend
