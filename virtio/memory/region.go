package memory

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Region is a run of guest physical addresses backed by one mapping.
type Region struct {
	// GPA is the guest physical address of Bytes[0].
	GPA uint64
	// Bytes is the mapping itself; its length is the region's. All of it has to be
	// readable and writable: a device writes wherever the guest tells it to.
	Bytes []byte

	// File and Offset say where else the same memory can be mapped from, for those
	// who serve the rings in another process (vhost-user). File is nil when the
	// mapping is private.
	File   *os.File
	Offset int64
}

// End is the first guest physical address after the region.
func (r Region) End() uint64 { return r.GPA + uint64(len(r.Bytes)) }

func (r Region) String() string {
	return fmt.Sprintf("%#x-%#x", r.GPA, r.End()-1)
}

// Map makes a region of zeroed anonymous memory, private to this process. Unmap
// gives it back.
func Map(gpa, size uint64) (Region, error) {
	bytes, err := mmap(-1, size, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return Region{}, fmt.Errorf("memory: map %#x bytes at %#x: %w", size, gpa, err)
	}
	return Region{GPA: gpa, Bytes: bytes}, nil
}

// MapShared makes a region of zeroed memory in a memfd, which another process can
// map too. Nobody can change the file's size: one who was given it, such as a
// vhost-user back-end, could otherwise cut it short, and this process would die of
// SIGBUS. Unmap gives the memory back and closes the file.
func MapShared(gpa, size uint64) (Region, error) {
	fail := func(err error) (Region, error) {
		return Region{}, fmt.Errorf("memory: map %#x shared bytes at %#x: %w", size, gpa, err)
	}
	fd, err := unix.MemfdCreate("guest-memory", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fail(err)
	}
	file := os.NewFile(uintptr(fd), "guest-memory")
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		file.Close()
		return fail(err)
	}
	if err := Seal(fd); err != nil {
		file.Close()
		return fail(err)
	}
	bytes, err := mmap(fd, size, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		file.Close()
		return fail(err)
	}
	return Region{GPA: gpa, Bytes: bytes, File: file}, nil
}

// Seal fixes a memfd's size for good. It was made with MFD_ALLOW_SEALING.
func Seal(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func mmap(fd int, size uint64, flags int) ([]byte, error) {
	if size == 0 || size > 1<<47 {
		return nil, unix.EINVAL
	}
	return unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, flags)
}

// Unmap gives back what Map or MapShared made. Nothing may use the region's bytes
// any more: not a device, not a vCPU.
func (r Region) Unmap() error {
	err := unix.Munmap(r.Bytes)
	if r.File != nil {
		r.File.Close()
	}
	if err != nil {
		return fmt.Errorf("memory: unmap %v: %w", r, err)
	}
	return nil
}
