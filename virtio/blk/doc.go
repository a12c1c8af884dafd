// Package blk is the virtio block device (virtio 1.2, section 5.2): a disk for a
// guest out of a raw image file or a block device of the host.
//
//	a request in the ring                 what becomes of it
//
//	readable  | type  sector |            pread / pwrite straight between the
//	readable  | data . . . . | (write)    guest's pages and the file, no copy
//	writable  | data . . . . | (read)     in this process
//	writable  | status       |            OK, IOERR or UNSUPP
//
// Each queue has a goroutine, which carries out one request at a time; a driver
// that wants more at once uses more queues.
//
// # When is a write on the disk?
//
// A driver that agreed on VIRTIO_BLK_F_FLUSH knows that writes are in a cache, the
// host's page cache, until it sends a flush, which is an fdatasync(2) here: what
// was answered before the flush was sent is on stable storage when the flush is
// answered. A driver that did not agree never sends one; for it every write is
// durable when it is answered (RWF_DSYNC). With VIRTIO_BLK_F_CONFIG_WCE the driver
// may change between the two as it goes.
//
// # Who else uses the file?
//
// Two guests that write to one file system destroy it. [Open] takes an open file
// description lock (fcntl(2), F_OFD_SETLK) on the whole file: shared for a disk
// that is read-only, exclusive for others. QEMU's image locks are of the same kind
// and meet it.
//
// # What a driver can do wrong
//
// A request that is malformed (a short header, a length that is not a number of
// sectors, sectors beyond the end, a discard of too many ranges) is answered with
// IOERR and changes nothing, one that is unknown or was not agreed on with UNSUPP.
// Only a chain without room for the status cannot be answered: it is a broken ring,
// and the device needs a reset.
package blk
