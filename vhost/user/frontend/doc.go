// Package frontend is the monitor's end of vhost-user: a virtio.Device whose queues
// are served by another process.
//
//	transport        Device                             back-end
//
//	Activate ----->  SET_FEATURES, SET_MEM_TABLE,
//	                 rings, eventfds ---------------->  serves
//	                                                      |
//	                 connection ends  <---------------  (dies)
//	                 dials again, and again
//	                 SET_INFLIGHT_FD, SET_VRING_BASE -> another one goes on
//	Reset -------->  GET_VRING_BASE ----------------->  stops
//
// # When the back-end dies
//
// The guest must not notice. Its requests are still where they were, in the rings in
// its own memory; what died with the process is only the knowledge of how far it had
// come. That is found again:
//
//   - The used index in guest memory says how many requests were answered. It is what
//     SET_VRING_BASE tells the next back-end. (An available index that the back-end
//     told last would count requests that it took and did not answer.)
//   - A back-end that answers in the order in which it takes needs no more. One that
//     does not keeps an account in a file (package inflight), which this end holds
//     from the first moment and hands to the next one.
//   - The dead one may have taken a kick out of its eventfd and not looked, or have
//     answered and not called. So each ring is kicked once, and called once: both are
//     allowed at any time, and mean no more than "look".
//
// A driver that resets the device while there is nobody is done at once, as nothing
// can be in flight; one that starts it is served when somebody comes. The next
// back-end has to offer the features that the driver was given; one that does not is
// left, and the attempt repeated. With Spec.Once the device fails in place of that.
//
// # What a back-end can do wrong
//
// Answer what it was not asked, with the wrong size, late or never: the connection is
// closed, and what follows is as if it had died. Refuse: the device needs a reset.
// Send descriptors: they are closed. It has all of guest memory mapped, and what it
// writes there cannot be told from what a device should; but it cannot cut the
// memory's file short (see memory.MapShared), and this end maps nothing that the
// back-end gave it: the file of the requests in flight is only passed on.
//
// One thing is beyond the protocol: a back-end that does not stop when its connection
// ends. It can go on writing into guest memory.
package frontend
