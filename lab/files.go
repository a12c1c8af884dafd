package lab

// How the lab mounts the host's files, 9p over virtio. The host changes them while the lab is up, and so the lab must
// not believe what it has seen before:
//
// With cache=mmap, Linux keeps an inode, and the pages of files that are mapped (which a program's are), for as long as
// a name in its cache of names refers to it, and reads all else from the host each time. Names come to be forgotten
// when they are told to, which happens before each command: see Session.Start.
//
// msize is the longest message, in bytes: what fits into the 128 descriptors of a request of the kernel's transport.
const (
	rootOptions  = "trans=virtio,version=9p2000.L,msize=507904,cache=mmap,ro"
	shareOptions = "trans=virtio,version=9p2000.L,msize=507904,cache=mmap"
)
