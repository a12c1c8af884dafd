// Package cpio writes and reads newc archives, the format in which Linux takes its first root file system.
//
// An initramfs is not a file system image: the kernel walks the archive once, front to back, and makes each entry with
// the ordinary mkdir, open, symlink and mknod code on an empty tmpfs. So order matters (a folder before what lies in
// it), nothing can be looked up, and an archive may be any number of archives one after the other:
//
//	+--------+------+-----+--------+------+-----+---   ---+---------+-----------+--------+------ ...
//	| header | name | pad |  body  | pad  | next entry ...| TRAILER | zeros     | header | name
//	| 110 B  |      | 0-3 |        | 0-3  |               | !!!     | (padding) |        |
//	+--------+------+-----+--------+------+-----+---   ---+---------+-----------+--------+------ ...
//	^ 4-byte aligned      ^ aligned       ^ aligned                             ^ aligned: the second archive
//
// A header is the magic "070701" and thirteen numbers, each as eight hexadecimal digits in ASCII (ino, mode, uid, gid,
// nlink, mtime, filesize, device major and minor, rdev major and minor, name size with its NUL, checksum). Eight digits
// bound a body at 4 GiB - 1. The kernel's reader is init/initramfs.c; its buffer format is described in
// Documentation/driver-api/early-userspace/buffer-format.rst.
//
// Between two archives the kernel skips zero bytes one by one, and insists that the next header starts at a multiple of
// four bytes from the start of the buffer. A [Writer] therefore ends its archive on a page boundary: it stays a valid
// archive, and a monitor can map a cached archive into guest memory and put another one on the page behind it.
//
// Traps that the writer keeps its user from: the name TRAILER!!! ends an archive wherever it stands; an entry with
// nlink > 1 is a hard link to the first entry with the same inode; a missing parent folder makes the kernel drop the
// entry without a word. The archive is a function of the calls alone: inode numbers count up from one and every time
// stamp is the same, so equal input gives equal bytes.
//
// The [Reader] is stricter than the kernel, because its job is to refuse what the kernel would silently skip.
package cpio
