// Package inflight is the area in which a vhost-user back-end remembers which
// requests it has taken, so that the one that comes after it goes on where it died.
// vhost-user protocol, "Inflight I/O tracking"; split virtqueues only.
//
// The rings alone do not tell. The available ring's slots may have been used again,
// and a used ring says how many requests are done, not which are not:
//
//	available ring   . . 3 7 1 5 . .        taken: all four
//	used ring            7 5                done: two; used index 2
//	                                        lost with the process: 3 and 1
//
// So there is a file of shared memory beside guest memory, which the back-end makes
// (GET_INFLIGHT_FD) and the front-end keeps, as it outlives back-ends: it hands the
// file to each that comes (SET_INFLIGHT_FD). The guest never sees it.
//
//	file  | queue 0                      | queue 1 ...
//	      | header | desc[0] desc[1] ... |
//
//	header   features u64   version u16  desc_num u16  last_batch_head u16  used_idx u16
//	desc[i]  inflight u8  padding[5]  next u16   counter u64
//
// desc is indexed by a chain's head. Each step is one store that the processor makes
// whole, in an order such that a process that is killed between any two of them
// leaves behind what can be understood:
//
//	pop      desc[i].counter = n++            the order in which they were taken
//	         desc[i].inflight = 1
//	push     desc[i].next = last_batch_head   a list of those about to be published
//	         last_batch_head = i
//	publish  (the ring's used index)          the driver has them now
//	         desc[i].inflight = 0  for each
//	         used_idx = the ring's
//
// Killed between the last three, used_idx is not the ring's used index: the
// difference is how many of the list were published, although they still look as if
// they were in flight. [Queue.Recover] mends that, and gives the heads that are in
// flight, in the order of their counters.
//
// # Trust
//
// The file comes from the front-end, who can write anything into it, and can cut it
// short at any time: nothing in it is used as an index unchecked, and whoever touches
// it does so under memory.Guard.
package inflight
