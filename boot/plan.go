package boot

import (
	"cmp"
	"fmt"
	"slices"
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

// layout is a plan in the making.
type layout struct {
	e820     []E820Entry
	kernel   Range // all that the kernel uses before it has read the memory map
	initrd   Range // empty for none
	segments []Segment
	entry    Entry
}

// NewPlan works out where everything goes. It reads headers, never a kernel's or an initrd's contents, and nothing of
// the machine it runs on: the same Spec has the same plan.
func NewPlan(s Spec) (*Plan, error) {
	p, err := newPlan(&s)
	if err != nil {
		name := ""
		if s.Kernel != nil {
			name = " " + s.Kernel.Path
		}
		return nil, fmt.Errorf("boot: plan kernel%s: %w", name, err)
	}
	return p, nil
}

func newPlan(s *Spec) (*Plan, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	l := &layout{}
	var err error
	if l.e820, err = e820(s); err != nil {
		return nil, err
	}
	if err := l.placeKernel(s); err != nil {
		return nil, err
	}
	if err := l.placeInitrd(s); err != nil {
		return nil, err
	}
	protocol := s.Protocol
	if protocol == Auto {
		protocol = s.Kernel.protocol()
	}
	switch protocol {
	case Linux64:
		err = l.linux64(s)
	case PVH:
		err = l.pvh(s)
	default:
		err = fmt.Errorf("%w: %v", ErrProtocol, protocol)
	}
	if err != nil {
		return nil, err
	}
	l.bytes("command line", "ends with a NUL", cmdlineGPA, append([]byte(s.Cmdline), 0))
	if s.ACPI != nil {
		l.bytes("ACPI tables", "the machine's description, from the RSDP on", s.ACPI.GPA, s.ACPI.Bytes)
	}
	if s.Reset != nil {
		l.bytes("reset vector", "resets the machine, for a guest that jumps to the BIOS to have that done", biosGPA, biosReset(*s.Reset))
	}
	if err := l.check(s); err != nil {
		return nil, err
	}
	return &Plan{protocol, l.entry, l.segments, l.e820, s.Cmdline}, nil
}

// protocol is the one that suits the kernel. An ELF file says in a note that it can be entered by PVH, but nothing
// says that it knows the Linux protocol, except that it is Linux.
func (k *Kernel) protocol() Protocol {
	if k.Format == ELF && k.Setup == nil && !k.Image.Linux && k.Image.PVHEntry != 0 {
		return PVH
	}
	return Linux64
}

// bytes adds a segment of bytes.
func (l *layout) bytes(name, why string, gpa uint64, b []byte) {
	l.segments = append(l.segments, Segment{name, why, Range{gpa, uint64(len(b))}, Source{Data: b}})
}

// check sorts the segments, and wants each to be in RAM and clear of the others. Kernel and initrd are, by the way that
// they were placed; the ACPI tables' address is the caller's.
func (l *layout) check(s *Spec) error {
	slices.SortStableFunc(l.segments, func(a, b Segment) int { return cmp.Compare(a.GPA, b.GPA) })
	for n, seg := range l.segments {
		if !slices.ContainsFunc(s.Memory, func(r Range) bool { return r.contains(seg.Range) }) {
			return fmt.Errorf("%w: %s at %v, memory is %v", ErrNoRoom, seg.Name, seg.Range, s.Memory)
		}
		if n > 0 && l.segments[n-1].overlaps(seg.Range) {
			before := l.segments[n-1]
			return fmt.Errorf("%w: %s at %v and %s at %v overlap", ErrSpec, before.Name, before.Range, seg.Name, seg.Range)
		}
	}
	return nil
}
