package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigchldInfo is the part of siginfo_t that waitid(2) fills, after si_signo, si_errno and si_code.
type sigchldInfo struct {
	_      [3]int32
	_      int32
	pid    int32
	uid    uint32
	status int32
}

// waitStatus is what wait(2) would have given.
func waitStatus(info *unix.Siginfo) syscall.WaitStatus {
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
	status := (*sigchldInfo)(unsafe.Pointer(info)).status
	switch info.Code {
	case exited:
		return syscall.WaitStatus(status << 8)
	case dumped:
		return syscall.WaitStatus(status | 0x80)
	}
	return syscall.WaitStatus(status)
}
