package kvm

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The address of an argument is turned into a uintptr only in the call of
// unix.Syscall itself: there the compiler keeps the object alive and where it
// is. A uintptr made any earlier is just a number, and once a goroutine's
// stack has grown and moved, the kernel would write to where the object was.

// ioctl does a request whose argument is a pointer to a T, or nil.
func ioctl[T any](d *descriptor, req Request, arg *T) (int, error) {
	if !d.acquire() {
		return 0, ErrClosed
	}
	defer d.done()
	if d.trace == nil {
		return syscallPointer(d.fd, req, unsafe.Pointer(arg))
	}
	start := time.Now()
	n, err := syscallPointer(d.fd, req, unsafe.Pointer(arg))
	call := Call{Object: d.object, Request: req, Result: n, Err: err, Start: start, Duration: time.Since(start)}
	if arg != nil {
		call.Arg = *arg // a copy: the tracer may keep it, and arg stays on the caller's stack
	}
	d.trace(call)
	return n, err
}

// ioctlValue does a request whose argument is a plain number.
func ioctlValue(d *descriptor, req Request, arg uint64) (int, error) {
	if !d.acquire() {
		return 0, ErrClosed
	}
	defer d.done()
	if d.trace == nil {
		return syscallValue(d.fd, req, arg)
	}
	start := time.Now()
	n, err := syscallValue(d.fd, req, arg)
	d.trace(Call{
		Object: d.object, Request: req, Arg: argValue(req, arg), Result: n, Err: err,
		Start: start, Duration: time.Since(start),
	})
	return n, err
}

// ioctlBuffer does a request whose argument is a header followed by an array
// (a flexible array member in C), laid out in buf. decode makes the traced
// form of it, and is called only if somebody listens.
func ioctlBuffer(d *descriptor, req Request, buf []byte, decode func() any) (int, error) {
	if !d.acquire() {
		return 0, ErrClosed
	}
	defer d.done()
	if d.trace == nil {
		return syscallPointer(d.fd, req, unsafe.Pointer(unsafe.SliceData(buf)))
	}
	start := time.Now()
	n, err := syscallPointer(d.fd, req, unsafe.Pointer(unsafe.SliceData(buf)))
	call := Call{Object: d.object, Request: req, Result: n, Err: err, Start: start, Duration: time.Since(start)}
	call.Arg = decode()
	d.trace(call)
	return n, err
}

// syscallPointer retries on EINTR. All of KVM's requests but KVM_RUN either
// did nothing when they return it or may be repeated as they are; KVM_RUN
// has its own path (run.go), where EINTR has a meaning.
func syscallPointer(fd int, req Request, arg unsafe.Pointer) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(arg))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func syscallValue(fd int, req Request, arg uint64) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(arg))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
