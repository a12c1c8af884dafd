// Package iovec makes system calls on lists of slices, such as the pieces of a descriptor chain, without allocating:
// the kernel moves the bytes between a file and guest memory, and nobody in between copies them.
package iovec

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Max is the largest number of pieces that a system call takes (UIO_MAXIOV).
const Max = 1024

// Vector is scratch space for the iovecs of one goroutine's system calls. The zero Vector is ready.
type Vector struct {
	iov []unix.Iovec
}

// Reset empties it.
func (v *Vector) Reset() { v.iov = v.iov[:0] }

// Len is the number of pieces.
func (v *Vector) Len() int { return len(v.iov) }

// Add appends pieces, up to Max in all; what is beyond is left out. The memory behind them must stay where it is until
// the system call has returned: guest memory does, and what Go has allocated and is still in use.
func (v *Vector) Add(pieces [][]byte) {
	for _, p := range pieces[:min(len(pieces), Max-len(v.iov))] {
		v.iov = append(v.iov, unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
	}
}

// AddOne appends one piece, if there is room.
func (v *Vector) AddOne(p []byte) {
	if len(v.iov) < Max {
		v.iov = append(v.iov, unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
	}
}

// Readv is readv(2). It retries when a signal interrupts it.
func (v *Vector) Readv(fd uintptr) (int, error) { return v.call(unix.SYS_READV, fd, 0, 0) }

// Writev is writev(2).
func (v *Vector) Writev(fd uintptr) (int, error) { return v.call(unix.SYS_WRITEV, fd, 0, 0) }

// Preadv is preadv2(2) without flags.
func (v *Vector) Preadv(fd uintptr, off int64) (int, error) {
	return v.call(unix.SYS_PREADV2, fd, off, 0)
}

// Pwritev is pwritev2(2).
func (v *Vector) Pwritev(fd uintptr, off int64, flags int) (int, error) {
	return v.call(unix.SYS_PWRITEV2, fd, off, flags)
}

func (v *Vector) call(trap, fd uintptr, off int64, flags int) (int, error) {
	for {
		// The offset is one argument on a 64-bit machine; its high half, the next one, is not looked at.
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(v.iov))), uintptr(len(v.iov)),
			uintptr(off), 0, uintptr(flags))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
