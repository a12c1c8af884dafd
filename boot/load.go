package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Memory is guest memory as the loader needs it. Slice returns the n bytes at a guest-physical address, or an error if
// they are not all RAM.
type Memory interface {
	Slice(gpa, n uint64) ([]byte, error)
}

// Mapper is a Memory that can put a file's pages at a guest-physical address instead of having them copied there: a
// private mapping, so that what the guest writes stays its own. gpa, offset and n are multiples of 4 KiB, and the file
// has all the bytes. An error that is errors.ErrUnsupported makes the loader copy.
//
// What is mapped costs no time at the start and no memory of the guest's own until it writes, but is in small pages;
// memory that is shared with other processes, or in huge pages, has to refuse.
type Mapper interface {
	Memory
	Map(gpa uint64, f *os.File, offset int64, n uint64) error
}

// Load fills memory, which must read as zero before. It maps what can be mapped if mem is a Mapper.
func (p *Plan) Load(mem Memory) error {
	for _, s := range p.Segments {
		if err := s.load(mem); err != nil {
			return fmt.Errorf("boot: load %s at %v: %w", s.Name, s.Range, err)
		}
	}
	return nil
}

func (s Segment) load(mem Memory) error {
	mapper, ok := mem.(Mapper)
	head, body, tail := s.Split()
	if !ok || body.Size == 0 {
		return s.copy(mem)
	}
	err := mapper.Map(body.GPA, body.File, body.Offset, body.Size)
	if errors.Is(err, errors.ErrUnsupported) {
		return s.copy(mem)
	}
	return errors.Join(err, head.copy(mem), tail.copy(mem))
}

// Split returns the part of the segment that can be mapped from its file, whole pages that are pages in the file as
// well, and the parts before and after. If nothing can, all of it is in head.
func (s Segment) Split() (head, body, tail Segment) {
	first, end := roundUp(s.GPA, pageSize), s.End()&^(pageSize-1)
	if s.File == nil || !s.Immutable || first >= end || uint64(s.Offset)%pageSize != s.GPA%pageSize {
		return s, Segment{}, Segment{}
	}
	return s.part(s.GPA, first), s.part(first, end), s.part(end, s.End())
}

// part is the segment from one address to another; it has a file.
func (s Segment) part(from, to uint64) Segment {
	s.Offset += int64(from - s.GPA)
	s.Range = Range{from, to - from}
	return s
}

// copy puts the segment's bytes into memory. Zeros are there already: writing them would touch every page of a .bss, and
// so make the host find memory for it.
func (s Segment) copy(mem Memory) error {
	if s.Size == 0 {
		return nil
	}
	b, err := mem.Slice(s.GPA, s.Size)
	if err != nil {
		return err
	}
	if s.File == nil {
		copy(b, s.Data)
		return nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(s.File, s.Offset, int64(s.Size)), b); err != nil {
		return fmt.Errorf("read %s at %#x: %w", s.File.Name(), s.Offset, err)
	}
	return nil
}
