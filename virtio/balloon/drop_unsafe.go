package balloon

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostPage is the size of a page that the host can drop.
var hostPage = uintptr(os.Getpagesize())

// whole is the part of mem that is whole pages of the host. Only its address tells.
func whole(mem []byte) []byte {
	if len(mem) == 0 {
		return nil
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	skip := -start & (hostPage - 1)
	if skip >= uintptr(len(mem)) {
		return nil
	}
	mem = mem[skip:]
	return mem[:uintptr(len(mem))&^(hostPage-1)]
}

// drop gives the pages behind mem back to the host. Pages of a file stay the file's until there is a hole in it.
func drop(mem []byte, shared bool) error {
	if shared {
		err := retry(mem, unix.MADV_REMOVE)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EACCES) {
			return err
		}
		// This one is private.
	}
	return retry(mem, unix.MADV_DONTNEED)
}

func retry(mem []byte, advice int) error {
	for {
		err := unix.Madvise(mem, advice)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
}
