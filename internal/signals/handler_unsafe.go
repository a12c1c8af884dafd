package signals

import (
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// relayTo is the pipe's end that the handler writes to, and the process in which it does. It is set before there is a handler,
// and never again.
var relayTo struct{ fd, pid int32 }

// Where handler and restorer begin, in handler_amd64.s: a Go function's value would be the address of a wrapper, which wants
// a goroutine.
var handlerPC, restorerPC uintptr

// sigaction is the kernel's struct of that name (arch/x86/include/uapi/asm/signal.h), which is not the C library's.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000 // a goroutine's stack is too small; each thread of the runtime has one for signals
	saRestart  = 0x10000000
)

// handle has the handler get a signal.
func handle(s syscall.Signal) error {
	if s == unix.SIGPIPE {
		signal.Ignore(s) // or a write to a standard file that is a broken pipe ends this process: the runtime sees to that
	}
	action := sigaction{
		handler: handlerPC, flags: saOnStack | saRestart | saRestorer, restorer: restorerPC,
		mask: ^uint64(0), // one at a time
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
