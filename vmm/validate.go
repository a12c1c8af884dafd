package vmm

import (
	"errors"
	"fmt"

	"tandem/vmm/layout"
)

// ErrSpec is wrapped by every error about a spec's own values.
var ErrSpec = errors.New("bad machine spec")

// Page sizes that Spec.HugePages may ask for.
const (
	HugePage2M = 2 << 20
	HugePage1G = 1 << 30
)

const (
	minMemory = 1 << 20
	// maxMemory is far below what any processor can address (2^46 at least
	// on those with long mode in use today) and keeps sums from overflowing.
	maxMemory = 1 << 44

	// maxPCI is how many PCI devices fit on the bus beside the host bridge.
	maxPCI = 31
)

// FieldError is one bad value of a Spec.
type FieldError struct {
	Field  string // "CPUs", "Devices[2].Open"
	Value  any    // as it was given
	Reason string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.Field, e.Value, e.Reason)
}

// Is makes every FieldError an ErrSpec.
func (e *FieldError) Is(target error) bool { return target == ErrSpec }

// Validate checks everything that can be known from the values alone. The error
// joins a *[FieldError] for each bad one.
func (s *Spec) Validate() error {
	var v validation
	v.want(s.CPUs >= 1 && s.CPUs <= layout.MaxCPUs, "CPUs", s.CPUs, "want 1 to %d", layout.MaxCPUs)
	s.validateMemory(&v)
	s.validateBoot(&v)
	s.validateDevices(&v)
	if len(v.errs) == 0 {
		return nil
	}
	return fmt.Errorf("vmm: %w", errors.Join(v.errs...))
}

type validation struct{ errs []error }

func (v *validation) want(ok bool, field string, value any, reason string, args ...any) {
	if !ok {
		v.errs = append(v.errs, &FieldError{field, value, fmt.Sprintf(reason, args...)})
	}
}

func (s *Spec) validateMemory(v *validation) {
	page := uint64(layout.PageSize)
	switch s.HugePages {
	case 0:
	case HugePage2M, HugePage1G:
		page = s.HugePages
	default:
		v.want(false, "HugePages", s.HugePages, "want 0, %d (2 MiB) or %d (1 GiB)", HugePage2M, HugePage1G)
	}
	v.want(s.Memory >= minMemory && s.Memory <= maxMemory, "Memory", s.Memory,
		"want %d (1 MiB) to %d bytes", minMemory, uint64(maxMemory))
	v.want(s.Memory%page == 0, "Memory", s.Memory, "want a multiple of %d bytes, the size of a page", page)
}

func (s *Spec) validateBoot(v *validation) {
	v.want((s.Kernel == nil) != (s.Image == nil), "Kernel, Image", fmt.Sprint(s.Kernel != nil, ", ", s.Image != nil),
		"want exactly one of them")
	if k := s.Kernel; k != nil {
		v.want(k.Path != "", "Kernel.Path", `""`, "want a file")
		switch k.Entry {
		case EntryAuto, EntryLong, EntryDecompress, EntryPVH:
		default:
			v.want(false, "Kernel.Entry", k.Entry, "want %q, %q or %q", EntryLong, EntryDecompress, EntryPVH)
		}
		for i, p := range k.Initrd {
			v.want((p.Path == "") != (p.Bytes == nil), fmt.Sprintf("Kernel.Initrd[%d]", i),
				fmt.Sprintf("%q and %d bytes", p.Path, len(p.Bytes)), "want a path or bytes")
		}
	}
	if im := s.Image; im != nil {
		s.validateImage(v, im)
	}
}

func (s *Spec) validateImage(v *validation, im *Image) {
	v.want(len(im.Code) > 0, "Image.Code", "0 bytes", "want a program")
	size := uint64(len(im.Code))
	low := min(s.Memory, layout.HoleStart)
	v.want(size <= low && im.GPA <= low-size, "Image.GPA", fmt.Sprintf("%#x", im.GPA),
		"%d bytes there are not within the %d bytes of memory below the hole", size, low)
	switch im.Mode {
	case ModeReal:
		v.want(im.GPA < 1<<16, "Image.GPA", fmt.Sprintf("%#x", im.GPA), "want an address below 64 KiB in real mode")
	case ModeProtected:
	default:
		v.want(false, "Image.Mode", fmt.Sprintf("%q", im.Mode), "want %q or %q", ModeReal, ModeProtected)
	}
}

func (s *Spec) validateDevices(v *validation) {
	names := map[string]bool{}
	count := map[Transport]int{}
	for i, d := range s.Devices {
		field := func(name string) string { return fmt.Sprintf("Devices[%d].%s", i, name) }
		v.want(d.Name != "" && !names[d.Name], field("Name"), fmt.Sprintf("%q", d.Name), "want a name that no other device has")
		v.want(d.Open != nil, field("Open"), "nil", "want a function")
		names[d.Name] = true
		switch d.Transport {
		case "", PCI:
			count[PCI]++
		case MMIO:
			count[MMIO]++
		default:
			v.want(false, field("Transport"), fmt.Sprintf("%q", d.Transport), "want %q or %q", PCI, MMIO)
		}
	}
	v.want(count[PCI] <= maxPCI, "Devices", count[PCI], "at most %d fit on the PCI bus", maxPCI)
	v.want(count[MMIO] <= layout.VirtioMMIOSlots, "Devices", count[MMIO],
		"at most %d virtio-mmio devices have an interrupt", layout.VirtioMMIOSlots)
}
