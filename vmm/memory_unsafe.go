package vmm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapOver replaces the pages behind mem, which comes from mmap, with a private
// mapping of f from offset on. mem stays valid: only what is behind it changes.
func mapOver(mem []byte, f *os.File, offset int64) error {
	if len(mem) == 0 {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var mapErr error
	err = raw.Control(func(fd uintptr) {
		_, mapErr = unix.MmapPtr(int(fd), offset, unsafe.Pointer(&mem[0]), uintptr(len(mem)),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	})
	if err != nil {
		return err
	}
	return mapErr
}
