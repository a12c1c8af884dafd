package guestinit

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// outb is the instruction. A thread that has no permission for the port gets a
// SIGSEGV.
//
//go:noescape
func outb(port uint16, value uint8)

// writePort writes a byte to an I/O port. The kernels of clouds have no /dev/port
// (CONFIG_DEVPORT), so the permission is asked of the kernel and the write done
// here: ioperm(2) is a thread's own.
func writePort(port uint16, value uint8) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := ioperm(port, true); err != nil {
		return err
	}
	outb(port, value)
	return ioperm(port, false)
}

func ioperm(port uint16, on bool) error {
	var turn uintptr
	if on {
		turn = 1
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOPERM, uintptr(port), 1, turn); errno != 0 {
		return errno
	}
	return nil
}
