package vmm

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/boot"
	"tandem/virtio/memory"
)

// ErrHugePages says that the host's pool has too few pages of the size asked
// for.
var ErrHugePages = errors.New("not enough huge pages")

// HugePageError tells how many huge pages are missing. It wraps ErrHugePages.
type HugePageError struct {
	PageSize uint64
	Want     uint64 // pages for the range that could not be mapped
	Free     uint64 // pages that the host has free
	Err      error  // mmap's
}

func (e *HugePageError) Error() string {
	kb := e.PageSize >> 10
	return fmt.Sprintf("%v: want %d of %d KiB, %d are free (/sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages): %v",
		ErrHugePages, e.Want, kb, e.Free, kb, e.Err)
}

func (e *HugePageError) Unwrap() []error { return []error{ErrHugePages, e.Err} }

// mapRAM makes the memory of one range, as the spec wants it.
func (s *Spec) mapRAM(gpa, size uint64) (memory.Region, error) {
	switch {
	case s.HugePages != 0:
		return mapHuge(gpa, size, s.HugePages, s.SharedMemory)
	case s.SharedMemory:
		return memory.MapShared(gpa, size)
	}
	return memory.Map(gpa, size)
}

// mapHuge makes a region of huge pages. Without MAP_NORESERVE the kernel sets
// the pages aside now or fails: a pool that ran dry later would kill the monitor
// with SIGBUS at the guest's next touch.
func mapHuge(gpa, size, page uint64, shared bool) (memory.Region, error) {
	log := logTwo(page)
	fail := func(err error) (memory.Region, error) {
		return memory.Region{}, &HugePageError{PageSize: page, Want: size / page, Free: freeHugePages(page), Err: err}
	}
	if !shared {
		flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB | log<<unix.MAP_HUGE_SHIFT
		bytes, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			return fail(err)
		}
		return memory.Region{GPA: gpa, Bytes: bytes}, nil
	}
	fd, err := unix.MemfdCreate("guest-memory", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_HUGETLB|log<<unix.MAP_HUGE_SHIFT)
	if err != nil {
		return fail(err)
	}
	file := os.NewFile(uintptr(fd), "guest-memory")
	if err := errors.Join(unix.Ftruncate(fd, int64(size)), memory.Seal(fd)); err != nil {
		file.Close()
		return fail(err)
	}
	bytes, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return fail(err)
	}
	return memory.Region{GPA: gpa, Bytes: bytes, File: file}, nil
}

func logTwo(n uint64) int {
	log := 0
	for n > 1 {
		n >>= 1
		log++
	}
	return log
}

// freeHugePages asks the host; 0 where it has no pool of the size.
func freeHugePages(page uint64) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/sys/kernel/mm/hugepages/hugepages-%dkB/free_hugepages", page>>10))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// image is guest memory as a boot plan is loaded into it: it maps a file's pages
// in place of copying them, where RAM is made of ordinary private pages.
type image struct {
	*memory.Space
	mappable bool
}

var _ boot.Mapper = image{}

// Map puts n bytes of f at gpa: private to this machine, so that the guest's
// writes never reach the file.
func (m image) Map(gpa uint64, f *os.File, offset int64, n uint64) error {
	if !m.mappable {
		return errors.ErrUnsupported
	}
	to, err := m.Slice(gpa, n)
	if err != nil {
		return err
	}
	if err := mapOver(to, f, offset); err != nil {
		return fmt.Errorf("vmm: map %s at %#x: %w", f.Name(), gpa, err)
	}
	return nil
}
