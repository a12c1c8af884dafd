// Package balloon is the virtio memory balloon (virtio 1.2, section 5.5): it moves memory from a guest back to its host
// while the guest runs, and to the guest again.
//
// A guest's memory is pages of the host's that the guest has touched once. The host cannot see which of them the guest
// still needs. A balloon is a driver in the guest that allocates pages as any other program does, pins them, and tells
// the host their numbers: nobody in the guest will touch them, so the host can drop them. To the guest it looks as if
// the balloon took the memory away; "inflate" and "deflate" are its words.
//
//	host                                             guest
//
//	SetTarget(200 MiB) -- num_pages, interrupt -->   allocate pages
//	                   <-- inflateq: 0x7f01, 0x7f02, 0x7f03, 0x9a10 ...
//	madvise(0x7f01000, 3 pages)                      (they are the balloon's now)
//	madvise(0x9a10000, 1 page)
//	                   <-- actual = 51200
//	SetTarget(0)       -- num_pages, interrupt -->
//	                   <-- deflateq: 0x9a10 ...      free pages; a touch makes the host find new ones
//
// # What else it does
//
//   - VIRTIO_BALLOON_F_DEFLATE_ON_OOM: a guest that runs out of memory takes pages back by itself before it kills
//     anything. The balloon is a wish then, not a limit.
//   - Statistics: the driver leaves a buffer with numbers about the guest's memory. The device keeps it, and gives it
//     back when it wants new ones: the queue runs the other way round, so to speak.
//   - VIRTIO_BALLOON_F_REPORTING: the guest's allocator names large free areas (2 MiB and up) as it finds them. They
//     stay the guest's, who may touch them as soon as the device has answered; meanwhile the host has them back. It
//     needs no target and nobody who sets one.
//
// # Giving back
//
// Private memory is dropped by madvise(MADV_DONTNEED). Memory in a file that others map too (a memfd, for vhost-user)
// would keep its pages that way: there a hole is punched into the file, by madvise(MADV_REMOVE). Page numbers come in
// any order. They are sorted, and neighbours become one call: a guest hands out pages in runs.
//
// The page numbers are a hostile guest's. What is not guest memory is refused and counted; what is may be dropped at
// any time, as it is only the guest's own.
//
// # Traps
//
//   - A page that was dropped reads as zeros, or, where the monitor has mapped a file in place of reading it into memory
//     (an initial RAM disk), as that file. Guests that have agreed on VIRTIO_BALLOON_F_PAGE_POISON rely on what freed
//     pages contain: what they report is dropped only if it would come back as they left it.
//   - Queue numbers: virtio 1.2 gives the reporting queue number 4. Linux, for most of its life, has counted only the
//     queues that were agreed upon, and so has QEMU. This device takes reports on every queue from 2 on that is nothing
//     else's.
//   - The size of a page here is 4 KiB, whatever the pages of host and guest are. Memory in huge pages cannot be given
//     back in such pieces: a balloon has no use there.
package balloon
