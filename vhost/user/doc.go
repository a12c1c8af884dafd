// Package user is the vhost-user protocol: its messages, and the connection that they
// go over. The specification is QEMU's "Vhost-user Protocol" (docs/interop).
//
// A virtio device in two processes: the front-end has the guest, its memory and the
// device's registers; the back-end has the queues. They are joined by a Unix socket
// that carries descriptors:
//
//	front-end (a monitor)                     back-end (a disk, a switch, ...)
//
//	GET_FEATURES ---------------------------> what it can do, and whether it has
//	                <---- u64 ---------------   protocol features (bit 30)
//	GET/SET_PROTOCOL_FEATURES --------------> how to speak from here on
//	SET_OWNER
//	SET_BACKEND_REQ_FD + socket ------------> a channel the other way
//	GET_CONFIG                <-- bytes -----
//	  ... the driver sets DRIVER_OK ...
//	SET_FEATURES
//	SET_MEM_TABLE + a file each ------------> maps them
//	GET/SET_INFLIGHT_FD + file -------------> what it has begun: see package inflight
//	SET_VRING_NUM, BASE, ADDR                 for each ring
//	SET_VRING_CALL, ERR, KICK + eventfd
//	SET_VRING_ENABLE -----------------------> serves the ring
//	  ... the driver resets the device ...
//	GET_VRING_BASE -------------------------> stops
//	                <---- index -------------
//
// Each message has a header of three numbers (request, flags, size), a payload whose
// form the request says, and up to eight descriptors. [Message.Decode] gives the
// payload as a Go type, and is total: whatever the bytes are, the outcome is a value
// of that type, or a [ProtocolError] that names the message and what is wrong with it.
//
// # Answers
//
// Some requests have an answer of their own. The others have none, unless the two
// ends agreed on REPLY_ACK: then the sender may ask, by a flag, for a number that is 0
// if the request was carried out. Without it an error has one way to be told: the
// connection is closed.
//
// # Descriptors
//
// They travel beside the bytes (SCM_RIGHTS), and arrive as numbers that are this
// process's own: whoever forgets one has leaked it, and a peer may send them where
// none belong. So a [Message] owns what came with it until somebody takes it, and
// closes the rest. They come with close-on-exec set, and no more than eight: the
// kernel drops those that find no room.
//
// # Addresses
//
// Three kinds appear, and it is easy to take one for another. Descriptors in the rings
// hold guest addresses. SET_VRING_ADDR has the front-end's own ("user") addresses. And
// the back-end has mapped it all somewhere else. A region of the memory table has the
// first two, and the file is how the third comes about.
//
// # Both ends
//
// Package frontend is a virtio.Device for a monitor, whose queues a back-end serves.
// Package backend serves a virtio.Device to anybody's monitor. Either trusts the other
// with guest memory, which it has mapped, and with nothing else.
package user
