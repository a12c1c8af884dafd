// Package stamps notes what the kernel's vhost-net does with its rings, and when. vhost-net has no tracepoints: small
// BPF programs are attached to its functions (fentry and fexit: a call at a function's first instruction and one at its
// return, where the kernel's own tracer would go).
//
//	the worker, a thread of the kernel                  program       stamp
//
//	handle_tx_kick, handle_rx_kick                      fentry        kick seen
//	  handle_tx, handle_rx                              fentry, fexit (which ring this worker serves)
//	    vhost_get_vq_desc, until the ring is empty      kprobe, kretprobe  chain popped
//	    tun_sendmsg, with up to 64 frames               fexit         frame sent, for each
//	    tun_recvmsg                                     fexit         frame received
//	    vhost_add_used_n                                fexit         used published, for each
//	    eventfd_signal, if the driver wants a call      fentry        call sent
//
// Stamps have the shape of those that tandem's own devices make (package virtio/stamp), and the same clock: a list can
// hold both.
//
// # What to know
//
//   - Workers of all machines run the same functions. A program goes on only if the worker uses the memory of the
//     process that is asked about: the kernel lends that to its worker, whose own name and number say little (the name
//     has the number of the thread that made it, which may have ended).
//   - A ring is known by the address of its available ring in that process, which is what the process told the kernel:
//     Spec.Queue says whose it is, so that each card gets its own.
//   - Functions are called one in another, so what a program cannot see of its own it finds in what the one before
//     noted for this worker: eventfd_signal is the kernel's for everybody, and counts while a worker serves a ring and
//     the eventfd is that ring's.
//   - Frames go to the tap in batches, so that those of a batch have one time. A driver that looks at its used ring
//     without being called may have seen a chain before it is stamped as published.
//   - vhost_get_vq_desc has seven arguments. Linux 6.1 has fentry pass on no more than six, and refuses: so it has a
//     kprobe and a kretprobe, which cost more.
//   - Where structures keep their members is taken from the kernel's own description of its types (BTF), never assumed.
//
// # Where fentry is refused
//
// A kernel that is locked down, or that cannot patch its text, has the tracepoints that everybody may use: the worker
// is woken (sched_wakeup), a frame comes out of the tap (netif_receive_skb), a frame was copied out of it
// (skb_copy_datagram_iovec), the last two in the worker's context. No descriptor is to be seen there: these stamps have
// no head and no index, and a worker may be woken for something that is no ring's. What cannot be seen is listed by
// Recorder.Missing with its reason.
package stamps
