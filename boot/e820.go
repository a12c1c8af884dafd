package boot

import (
	"cmp"
	"fmt"
	"slices"
)

// E820Entry is struct boot_e820_entry, one line of the memory map that the guest gets.
type E820Entry struct {
	Range
	Type E820Type `json:"type"`
}

// E820Type is what a stretch of addresses is for.
type E820Type uint32

// The types of e820 entries; those of struct hvm_memmap_table_entry are the same.
const (
	E820RAM      E820Type = 1
	E820Reserved E820Type = 2
	E820ACPI     E820Type = 3 // ACPI tables: RAM again, once the guest has read them
)

func (t E820Type) String() string {
	switch t {
	case E820RAM:
		return "RAM"
	case E820Reserved:
		return "reserved"
	case E820ACPI:
		return "ACPI"
	}
	return fmt.Sprintf("E820Type(%d)", uint32(t))
}

// MarshalText names the type.
func (t E820Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// e820 makes the memory map: RAM but for the legacy area, the ACPI tables and what is reserved.
func e820(s *Spec) ([]E820Entry, error) {
	taken := []E820Entry{{Range{ebdaGPA, 0xa_0000 - ebdaGPA}, E820Reserved}}
	if s.ACPI != nil {
		first := s.ACPI.GPA &^ (pageSize - 1)
		end := roundUp(s.ACPI.GPA+uint64(len(s.ACPI.Bytes)), pageSize)
		taken = append(taken, E820Entry{Range{first, end - first}, E820ACPI})
	}
	for _, r := range s.Reserved {
		taken = append(taken, E820Entry{r, E820Reserved})
	}

	ram := slices.Clone(s.Memory)
	holes := []Range{{ebdaGPA, legacyEnd - ebdaGPA}}
	for _, t := range taken {
		holes = append(holes, t.Range)
	}
	for _, hole := range holes {
		ram = subtract(ram, hole)
	}

	entries := taken
	for _, r := range ram {
		entries = append(entries, E820Entry{r, E820RAM})
	}
	slices.SortFunc(entries, func(a, b E820Entry) int { return cmp.Compare(a.GPA, b.GPA) })
	for n := 1; n < len(entries); n++ {
		if a, b := entries[n-1].Range, entries[n].Range; a.End() > b.GPA {
			return nil, fmt.Errorf("%w: memory map: %v and %v overlap", ErrSpec, a, b)
		}
	}
	if len(entries) > maxE820 {
		return nil, fmt.Errorf("%w: memory map of %d entries, at most %d have room in the zero page", ErrSpec, len(entries), maxE820)
	}
	return entries, nil
}

// subtract cuts hole out of ranges.
func subtract(ranges []Range, hole Range) []Range {
	var out []Range
	for _, r := range ranges {
		if r.End() <= hole.GPA || hole.End() <= r.GPA {
			out = append(out, r)
			continue
		}
		if r.GPA < hole.GPA {
			out = append(out, Range{r.GPA, hole.GPA - r.GPA})
		}
		if hole.End() < r.End() {
			out = append(out, Range{hole.End(), r.End() - hole.End()})
		}
	}
	return out
}
