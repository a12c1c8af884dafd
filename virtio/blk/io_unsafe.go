package blk

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vector is scratch space for the iovecs of one queue's system calls. unix.Preadv
// would allocate it anew each time.
type vector struct {
	iov []unix.Iovec
}

// load makes iovecs of the first pieces, as many as a system call takes. The pieces
// are guest memory, which stays where it is.
func (v *vector) load(pieces [][]byte) []unix.Iovec {
	v.iov = v.iov[:0]
	for _, p := range pieces[:min(len(pieces), maxIovec)] {
		v.iov = append(v.iov, unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
	}
	return v.iov
}

// preadv is preadv(2). It retries when a signal interrupts it.
func preadv(f *os.File, iov []unix.Iovec, off int64) (int, error) {
	return vectored(unix.SYS_PREADV2, f, iov, off, 0)
}

// pwritev2 is pwritev2(2). It retries when a signal interrupts it.
func pwritev2(f *os.File, iov []unix.Iovec, off int64, flags int) (int, error) {
	return vectored(unix.SYS_PWRITEV2, f, iov, off, flags)
}

func vectored(trap uintptr, f *os.File, iov []unix.Iovec, off int64, flags int) (int, error) {
	for {
		// The offset is one argument on a 64-bit machine; its high half, the next
		// one, is not looked at.
		n, _, errno := unix.Syscall6(trap, f.Fd(),
			uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)),
			uintptr(off), 0, uintptr(flags))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

// blkdiscard is the ioctl BLKDISCARD, which takes the start and the length.
func blkdiscard(f *os.File, off, n int64) error {
	arg := [2]uint64{uint64(off), uint64(n)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
