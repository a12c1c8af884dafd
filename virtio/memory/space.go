package memory

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrOutside is why an address range is refused: some byte of it is not guest
// memory.
var ErrOutside = errors.New("outside guest memory")

// RangeError names the range that was refused. It wraps ErrOutside.
type RangeError struct {
	Op  string // "slice", "read", "write"
	GPA uint64
	Len uint64
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("memory: %s %#x+%#x: %v", e.Op, e.GPA, e.Len, ErrOutside)
}

func (e *RangeError) Unwrap() error { return ErrOutside }

// Space is the memory of one guest. It does not change after New, so that any
// number of goroutines may use it at the same time.
type Space struct {
	regions []Region // sorted by GPA, not overlapping, none empty
}

// New makes a Space of the regions, in any order. It refuses regions that are
// empty, overlap or wrap around the end of the address space.
func New(regions ...Region) (*Space, error) {
	sorted := slices.Clone(regions)
	slices.SortFunc(sorted, func(a, b Region) int { return cmp.Compare(a.GPA, b.GPA) })
	for i, r := range sorted {
		if len(r.Bytes) == 0 {
			return nil, fmt.Errorf("memory: new space: region at %#x: empty", r.GPA)
		}
		if r.End() < r.GPA {
			return nil, fmt.Errorf("memory: new space: region at %#x: %#x bytes wrap around", r.GPA, len(r.Bytes))
		}
		if i > 0 && sorted[i-1].End() > r.GPA {
			return nil, fmt.Errorf("memory: new space: region %v: overlaps %v", r, sorted[i-1])
		}
	}
	return &Space{regions: sorted}, nil
}

// Regions lists the regions by rising address. The list must not be changed.
func (s *Space) Regions() []Region { return s.regions }

// Size is the number of bytes in all regions.
func (s *Space) Size() uint64 {
	var n uint64
	for _, r := range s.regions {
		n += uint64(len(r.Bytes))
	}
	return n
}

// Slice returns the n bytes at gpa, which must lie within one region. The slice's
// capacity ends with it, so that nothing can be appended to it in place. n may be
// 0; gpa has to be inside a region even then.
//
// This is the one way from a guest's address to memory.
func (s *Space) Slice(gpa, n uint64) ([]byte, error) {
	if rest := s.from(gpa); rest != nil && n <= uint64(len(rest)) {
		return rest[:n:n], nil
	}
	return nil, &RangeError{Op: "slice", GPA: gpa, Len: n}
}

// Append is Slice for ranges that may run on from one region into the next one: it
// appends the pieces to iov. On an error iov is as it was.
func (s *Space) Append(iov [][]byte, gpa, n uint64) ([][]byte, error) {
	out, at, left := iov, gpa, n
	for left > 0 {
		rest := s.from(at)
		if rest == nil {
			return iov, &RangeError{Op: "slice", GPA: gpa, Len: n}
		}
		take := min(left, uint64(len(rest)))
		out = append(out, rest[:take:take])
		at += take
		left -= take
	}
	return out, nil
}

// Contains tells whether all n bytes at gpa are guest memory.
func (s *Space) Contains(gpa, n uint64) bool {
	for n > 0 {
		rest := s.from(gpa)
		if rest == nil {
			return false
		}
		take := min(n, uint64(len(rest)))
		n -= take
		gpa += take
	}
	return true
}

// from returns what is mapped from gpa to the end of its region, nil if gpa is not
// guest memory. A machine has two or three regions: a search in order is quicker
// than a clever one.
func (s *Space) from(gpa uint64) []byte {
	for i := range s.regions {
		r := &s.regions[i]
		if off := gpa - r.GPA; gpa >= r.GPA && off < uint64(len(r.Bytes)) {
			return r.Bytes[off:]
		}
	}
	return nil
}

// ReadAt copies guest memory at the address off, across regions that touch. It is
// an io.ReaderAt whose error is a RangeError where memory ends.
func (s *Space) ReadAt(p []byte, off int64) (int, error) {
	return s.copyAt("read", off, len(p), func(at int, mem []byte) int { return copy(p[at:], mem) })
}

// WriteAt copies p into guest memory at the address off, across regions that touch.
// It is an io.WriterAt.
func (s *Space) WriteAt(p []byte, off int64) (int, error) {
	return s.copyAt("write", off, len(p), func(at int, mem []byte) int { return copy(mem, p[at:]) })
}

func (s *Space) copyAt(op string, off int64, n int, move func(at int, mem []byte) int) (int, error) {
	done := 0
	for done < n {
		var rest []byte
		if off >= 0 {
			rest = s.from(uint64(off) + uint64(done))
		}
		if rest == nil {
			return done, &RangeError{Op: op, GPA: uint64(off), Len: uint64(n)}
		}
		done += move(done, rest)
	}
	return done, nil
}

var (
	_ io.ReaderAt = (*Space)(nil)
	_ io.WriterAt = (*Space)(nil)
)
