package backend

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tandem/vhost/user"
	"tandem/virtio/memory"
)

// maxAddress bounds sizes and offsets, so that no sum of them wraps.
const maxAddress = 1 << 46

// region is a piece of the front-end's memory that is mapped here.
type region struct {
	user.MemoryRegion
	mapping []byte // whole pages
	bytes   []byte // the region
	again   int    // how many times it was added once more
}

// table is all of it.
type table struct {
	regions []region
	space   *memory.Space // nil while there are none
}

// guest gives the guest physical address of n bytes at an address of the front-end's
// own, which have to lie in one region.
func (t *table) guest(addr, n uint64) (uint64, error) {
	for _, r := range t.regions {
		if off := addr - r.User; addr >= r.User && off < r.Size && n <= r.Size-off {
			return r.GPA + off, nil
		}
	}
	return 0, fmt.Errorf("front-end's address %#x, %#x long: %w", addr, n, memory.ErrOutside)
}

// install makes a list of regions the table. What is in use must be stopped.
func (t *table) install(list []region) error {
	var regions []memory.Region
	for _, r := range list {
		regions = append(regions, memory.Region{GPA: r.GPA, Bytes: r.bytes})
	}
	var space *memory.Space
	if len(list) > 0 {
		var err error
		if space, err = memory.New(regions...); err != nil {
			return err
		}
	}
	t.regions, t.space = list, space
	return nil
}

func (t *table) unmapAll() {
	for _, r := range t.regions {
		r.unmap()
	}
	*t = table{}
}

// setMemory is SET_MEM_TABLE: all of memory is new. Rings that run go on in it.
func (s *session) setMemory(wanted user.MemoryTable, m *user.Message) (err error) {
	var list []region
	defer func() {
		if err != nil {
			for _, r := range list {
				r.unmap()
			}
		}
	}()
	for i, w := range wanted {
		r, err := mapRegion(w, m.TakeFD(i))
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	var next table
	if err := next.install(list); err != nil {
		return err
	}
	list = nil // the table's, from here on
	s.stopAll()
	s.table.unmapAll()
	s.table = next
	return s.apply()
}

// changeMemory is ADD_MEM_REG and REM_MEM_REG. A region is known by its addresses
// and size.
func (s *session) changeMemory(request user.Request, w user.MemoryRegion, m *user.Message) error {
	list := slices.Clone(s.table.regions)
	var gone region
	// QEMU has a front-end for each queue pair of a network card, all on one connection, and some versions have each of
	// them add the same memory, and remove it.
	if i := slices.IndexFunc(list, func(r region) bool { return r.MemoryRegion == w }); i >= 0 {
		switch r := &s.table.regions[i]; {
		case request == user.AddMemReg:
			r.again++
			return unix.Close(m.TakeFD(0))
		case r.again > 0:
			r.again--
			return nil
		}
	}
	if request == user.AddMemReg {
		if len(list) >= maxSlots {
			return fmt.Errorf("more than %d regions", maxSlots)
		}
		r, err := mapRegion(w, m.TakeFD(0))
		if err != nil {
			return err
		}
		list, gone = append(list, r), r // on an error
	} else {
		i := slices.IndexFunc(list, func(r region) bool {
			return r.GPA == w.GPA && r.User == w.User && r.Size == w.Size
		})
		if i < 0 {
			return fmt.Errorf("no region of %#x bytes at %#x", w.Size, w.GPA)
		}
		gone = list[i]
		list = slices.Delete(list, i, i+1)
	}
	s.stopAll()
	err := s.table.install(list)
	if (err == nil) == (request == user.RemMemReg) {
		gone.unmap()
	}
	return errors.Join(err, s.apply())
}

// mapRegion maps a region out of the file that came with it. It takes the descriptor
// over.
func mapRegion(w user.MemoryRegion, fd int) (r region, err error) {
	file := os.NewFile(uintptr(fd), "memory")
	defer func() {
		file.Close()
		if err != nil {
			err = fmt.Errorf("map %#x bytes for guest address %#x: %w", w.Size, w.GPA, err)
		}
	}()
	if w.Size == 0 || w.Size > maxAddress || w.Offset > maxAddress || w.GPA+w.Size < w.GPA || w.User+w.Size < w.User {
		return region{}, fmt.Errorf("offset %#x, front-end's address %#x: %w", w.Offset, w.User, user.ErrValue)
	}
	info, err := file.Stat()
	if err != nil {
		return region{}, err
	}
	// A device's file could have any effect. A file that is too short would be a
	// mapping without anything behind it.
	if !info.Mode().IsRegular() {
		return region{}, fmt.Errorf("a file of type %v: want a regular one", info.Mode().Type())
	}
	if have := uint64(info.Size()); have < w.Offset+w.Size {
		return region{}, fmt.Errorf("the file has %#x bytes, want %#x", have, w.Offset+w.Size)
	}
	keepSize(file)
	page, err := pageSize(file)
	if err != nil {
		return region{}, err
	}
	skip := w.Offset % page
	length := (skip + w.Size + page - 1) &^ (page - 1)
	mapping, err := unix.Mmap(int(file.Fd()), int64(w.Offset-skip), int(length), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return region{}, err
	}
	return region{MemoryRegion: w, mapping: mapping, bytes: mapping[skip : skip+w.Size : skip+w.Size]}, nil
}

func (r region) unmap() { _ = unix.Munmap(r.mapping) }

// keepSize has the kernel refuse to make the file shorter, if it is a memfd that can
// be sealed. Others can be cut under us at any time: memory.Guard is for that.
func keepSize(file *os.File) {
	_, _ = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
}

// pageSize is what a mapping of the file has to be a multiple of: more than a page
// if it is made of huge ones.
func pageSize(file *os.File) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return 0, err
	}
	if fs.Type == unix.HUGETLBFS_MAGIC {
		return uint64(fs.Bsize), nil
	}
	return uint64(os.Getpagesize()), nil
}
