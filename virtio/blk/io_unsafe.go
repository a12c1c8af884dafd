package blk

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blkdiscard is the ioctl BLKDISCARD, which takes the start and the length.
func blkdiscard(f *os.File, off, n int64) error {
	arg := [2]uint64{uint64(off), uint64(n)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
