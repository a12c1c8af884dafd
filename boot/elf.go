package boot

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Image is what an ELF kernel's headers ask for.
type Image struct {
	Entry    uint64 // e_entry; for Linux the physical address of startup_64
	PVHEntry uint64 // XEN_ELFNOTE_PHYS32_ENTRY, 0 if the kernel has none
	Linux    bool   // its notes say that it is Linux
	Loads    []Load // PT_LOAD segments by rising address, not overlapping; at least one

	notes []byte // the contents of its PT_NOTE segments
}

// Load is a PT_LOAD segment: FileSize bytes at Offset in the file go to PhysAddr, and zeros up to MemSize.
//
// p_vaddr doesn't matter: the kernel maps itself there once it runs. Nor do relocations: a vmlinux is linked for its
// p_paddr, and only the kernel's own decompressor, when it moves the kernel (KASLR), applies the list that it carries.
type Load struct {
	PhysAddr uint64
	Offset   int64
	FileSize uint64
	MemSize  uint64
}

// Range is the guest-physical addresses from the first segment's start to the last one's end.
func (i *Image) Range() Range {
	first, last := i.Loads[0], i.Loads[len(i.Loads)-1]
	return Range{GPA: first.PhysAddr, Size: last.end() - first.PhysAddr}
}

func (l Load) end() uint64 { return l.PhysAddr + l.MemSize }

// congruent tells whether the segment's pages in memory are pages in the file, so that they can be mapped.
func (l Load) congruent() bool { return uint64(l.Offset)%pageSize == l.PhysAddr%pageSize }

// holds tells whether the file has a byte for the address.
func (i *Image) holds(gpa uint64) bool {
	return slices.ContainsFunc(i.Loads, func(l Load) bool {
		return gpa >= l.PhysAddr && gpa-l.PhysAddr < l.FileSize
	})
}

const (
	ehdrSize = 64 // Elf64_Ehdr
	phdrSize = 56 // Elf64_Phdr

	// maxSegments bounds what a header may make us read; Linux has five.
	maxSegments = 128
	// maxNotes bounds the notes of a kernel; Linux has some 500 bytes.
	maxNotes = 1 << 20
)

func isELF(head []byte) bool { return len(head) >= 4 && string(head[:4]) == elf.ELFMAG }

// parseELF reads and checks the headers of an ELF file with size bytes. (debug/elf would also read sections, which
// loading doesn't need and of which a kernel with debug information has a lot.)
func parseELF(file io.ReaderAt, size int64) (*Image, error) {
	var h elf.Header64
	if err := readStruct(file, 0, ehdrSize, size, "ELF header", &h); err != nil {
		return nil, err
	}
	if err := checkELFHeader(&h); err != nil {
		return nil, err
	}
	headers := make([]elf.Prog64, h.Phnum)
	if h.Phoff > uint64(size) {
		return nil, fmt.Errorf("%w: program headers at %#x (e_phoff), the file has %#x bytes", ErrCorrupt, h.Phoff, size)
	}
	if err := readStruct(file, int64(h.Phoff), len(headers)*phdrSize, size, "program headers", headers); err != nil {
		return nil, err
	}
	image := &Image{Entry: h.Entry}
	for n, p := range headers {
		if err := image.addSegment(file, size, p); err != nil {
			return nil, fmt.Errorf("segment %d: %w", n, err)
		}
	}
	if err := image.checkLoads(); err != nil {
		return nil, err
	}
	return image, image.readNotes()
}

func checkELFHeader(h *elf.Header64) error {
	class, data := elf.Class(h.Ident[elf.EI_CLASS]), elf.Data(h.Ident[elf.EI_DATA])
	machine, kind := elf.Machine(h.Machine), elf.Type(h.Type)
	switch {
	case class != elf.ELFCLASS64:
		return fmt.Errorf("%w: ELF class %v, want ELFCLASS64", ErrFormat, class)
	case data != elf.ELFDATA2LSB:
		return fmt.Errorf("%w: ELF data encoding %v, want ELFDATA2LSB", ErrFormat, data)
	case machine != elf.EM_X86_64:
		return fmt.Errorf("%w: an ELF file for %v, want EM_X86_64", ErrFormat, machine)
	case kind != elf.ET_EXEC:
		return fmt.Errorf("%w: ELF type %v, want ET_EXEC", ErrFormat, kind)
	case h.Phentsize != phdrSize:
		return fmt.Errorf("%w: program headers of %d bytes (e_phentsize), want %d", ErrCorrupt, h.Phentsize, phdrSize)
	case h.Phnum == 0:
		return fmt.Errorf("%w: an ELF file without program headers", ErrFormat)
	case h.Phnum > maxSegments:
		return fmt.Errorf("%w: %d program headers (e_phnum), at most %d accepted", ErrCorrupt, h.Phnum, maxSegments)
	}
	return nil
}

// addSegment takes over what p says, if it is of a kind that matters.
func (i *Image) addSegment(file io.ReaderAt, size int64, p elf.Prog64) error {
	kind := elf.ProgType(p.Type)
	if kind == elf.PT_INTERP || kind == elf.PT_DYNAMIC {
		return fmt.Errorf("%w: %v, a program for an operating system", ErrFormat, kind)
	}
	if kind != elf.PT_LOAD && kind != elf.PT_NOTE || p.Filesz == 0 && p.Memsz == 0 {
		return nil
	}
	if p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off {
		return fmt.Errorf("%w: %#x bytes at %#x (p_filesz, p_offset), the file has %#x: truncated?", ErrCorrupt, p.Filesz,
			p.Off, size)
	}
	if kind == elf.PT_NOTE {
		if p.Filesz > maxNotes-uint64(len(i.notes)) {
			return fmt.Errorf("%w: notes of %#x bytes, at most %#x accepted", ErrCorrupt, p.Filesz, maxNotes)
		}
		notes := make([]byte, p.Filesz)
		if _, err := file.ReadAt(notes, int64(p.Off)); err != nil {
			return err
		}
		i.notes = append(i.notes, notes...)
		return nil
	}
	if p.Filesz > p.Memsz {
		return fmt.Errorf("%w: p_filesz %#x is more than p_memsz %#x", ErrCorrupt, p.Filesz, p.Memsz)
	}
	if p.Memsz > ^uint64(0)-p.Paddr {
		return fmt.Errorf("%w: %#x bytes at %#x (p_memsz, p_paddr) reach beyond the address space", ErrCorrupt, p.Memsz, p.Paddr)
	}
	i.Loads = append(i.Loads, Load{p.Paddr, int64(p.Off), p.Filesz, p.Memsz})
	return nil
}

func (i *Image) checkLoads() error {
	if len(i.Loads) == 0 {
		return fmt.Errorf("%w: an ELF file without a PT_LOAD segment", ErrFormat)
	}
	var contents uint64
	for _, l := range i.Loads {
		if contents += l.FileSize; contents > maxUnpacked { // each is at most the file's size, so this can't wrap
			return fmt.Errorf("%w: segments with more than %#x bytes", ErrCorrupt, maxUnpacked)
		}
	}
	slices.SortFunc(i.Loads, func(a, b Load) int { return cmp.Compare(a.PhysAddr, b.PhysAddr) })
	for n := 1; n < len(i.Loads); n++ {
		if a, b := i.Loads[n-1], i.Loads[n]; a.end() > b.PhysAddr {
			return fmt.Errorf("%w: segments %#x-%#x and %#x-%#x overlap", ErrCorrupt, a.PhysAddr, a.end(), b.PhysAddr, b.end())
		}
	}
	return nil
}

// readStruct decodes n bytes of file at offset.
func readStruct(file io.ReaderAt, offset int64, n int, size int64, what string, into any) error {
	if size-offset < int64(n) {
		return fmt.Errorf("%w: %s of %d bytes at %#x, the file has %#x: truncated?", ErrCorrupt, what, n, offset, size)
	}
	b := make([]byte, n)
	if _, err := file.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err := binary.Decode(b, le, into)
	return err
}
