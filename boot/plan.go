package boot

import (
	"errors"
	"io"
	"os"
)

// Plan is everything that has to be in memory, and in the first vCPU's registers, for a kernel to start: data, so that
// it can be printed, compared and tested without a machine.
type Plan struct {
	Protocol Protocol    `json:"protocol"`
	Entry    Entry       `json:"entry"`
	Segments []Segment   `json:"segments"` // by rising address, not overlapping
	E820     []E820Entry `json:"e820"`
	Cmdline  string      `json:"cmdline"`
}

// Segment is a stretch of guest memory and where its bytes come from. A segment without a source is memory that the
// kernel counts on being zero (its .bss), which fresh memory is.
type Segment struct {
	Name string
	Why  string
	Range
	Source
}

// Memory is guest memory as the loader needs it. Slice returns the n bytes at a guest-physical address, or an error if
// they are not all RAM.
type Memory interface {
	Slice(gpa, n uint64) ([]byte, error)
}

// Mapper is a Memory that can put a file's pages at a guest-physical address instead of having them copied there: a
// private mapping, so that what the guest writes stays its own. gpa, offset and n are multiples of 4 KiB. The file's
// pages may reach beyond its end; those bytes read as zero. An error that is errors.ErrUnsupported makes the loader
// copy.
type Mapper interface {
	Memory
	Map(gpa uint64, f *os.File, offset int64, n uint64) error
}

// E820Entry is struct boot_e820_entry.
type E820Entry struct {
	Range
	Type E820Type `json:"type"`
}

// E820Type is what a stretch of addresses is for.
type E820Type uint32

// The types of e820 entries (and of hvm_memmap_table_entry, which has the same).
const (
	E820RAM      E820Type = 1
	E820Reserved E820Type = 2
	E820ACPI     E820Type = 3
)

// NewPlan works out where everything goes. It reads headers, never a kernel's or an initrd's contents.
func NewPlan(s Spec) (*Plan, error) { return nil, errors.ErrUnsupported }

// Load fills memory, which must read as zero before. It maps what can be mapped if mem is a Mapper.
func (p *Plan) Load(mem Memory) error { return errors.ErrUnsupported }

// WriteText prints the plan for people; encoding/json prints it for programs.
func (p *Plan) WriteText(w io.Writer) error { return errors.ErrUnsupported }
