package seccomp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getActionAvail is seccomp(2) with SECCOMP_GET_ACTION_AVAIL.
func getActionAvail(action uint32) error {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if errno != 0 {
		return errno
	}
	return nil
}

// setNoFilter is seccomp(2) with SECCOMP_SET_MODE_FILTER and a null pointer: it always fails.
func setNoFilter(flags uint) error {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), 0)
	return errno
}
