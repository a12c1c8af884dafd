package kernel

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl does a request whose argument is a pointer to a T, or nil.
func ioctl[T any](d *Device, r Request, detail string, arg *T) error {
	return d.do(r, detail, unsafe.Pointer(arg))
}

// ioctlBytes does a request whose argument is laid out in b.
func ioctlBytes(d *Device, r Request, detail string, b []byte) error {
	return d.do(r, detail, unsafe.Pointer(unsafe.SliceData(b)))
}

// do turns the argument's address into a number in the call itself: there the
// compiler keeps the object alive and where it is.
func (d *Device) do(r Request, detail string, arg unsafe.Pointer) error {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return d.fail(r, detail, err)
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		for {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(r), uintptr(arg))
			if errno != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return d.fail(r, detail, errors.Join(os.ErrClosed, err))
	case errno != 0:
		return d.fail(r, detail, errno)
	}
	return nil
}
