package boot

import (
	"errors"
	"os"

	"tandem/boot/acpi"
)

// Protocol is the agreement about the vCPU's state and the first bytes of memory when the kernel is entered.
type Protocol int

const (
	// Auto is Linux64 where the kernel has it, else PVH.
	Auto Protocol = iota
	// Linux64 is the 64-bit boot protocol: long mode, identity-mapped, RSI at the zero page. A bzImage is entered in its
	// own decompressor, an ELF kernel at its entry point.
	Linux64
	// PVH is Xen's direct boot: 32-bit protected mode without paging, EBX at struct hvm_start_info.
	PVH
)

// Spec is what shall lie in memory when the guest starts.
type Spec struct {
	Kernel   *Kernel
	Protocol Protocol
	Cmdline  string
	// Initrd is laid down part after part and handed over as one. Linux skips zeros between archives, so parts are
	// padded: each to 4 bytes, and a part from a file to whole pages, so that it can be mapped.
	Initrd []Part
	// Memory is the guest's RAM by rising address, starting at 0; the legacy hole below 1 MiB is cut out by boot.
	Memory []Range
	// Reserved is told to the guest as reserved in e820 (the ECAM, as an example).
	Reserved []Range
	// ACPI is laid down where it was built for, and its root handed to the kernel; nil for none.
	ACPI *acpi.Tables
	// Seed, if any, is given to Linux' random number generator (SETUP_RNG_SEED): bytes of the host's, new for each boot.
	Seed []byte
}

// Range is a stretch of guest-physical addresses.
type Range struct {
	GPA  uint64 `json:"gpa"`
	Size uint64 `json:"size"`
}

// End is the first address after the range.
func (r Range) End() uint64 { return r.GPA + r.Size }

// Part is one archive of an initrd.
type Part struct {
	Name string
	Size uint64
	Source
}

// Source is where bytes come from: Data, or File from Offset on, or neither for zeros.
type Source struct {
	Data   []byte
	File   *os.File
	Offset int64
	// Immutable promises that nobody writes to or truncates File while the guest runs, so that its pages may be mapped.
	Immutable bool
}

// BytesPart is a part held in memory.
func BytesPart(name string, data []byte) Part {
	return Part{Name: name, Size: uint64(len(data)), Source: Source{Data: data}}
}

// FilePart is the whole of f as a part. f must stay open until the plan has been loaded.
func FilePart(name string, f *os.File, immutable bool) (Part, error) {
	return Part{}, errors.ErrUnsupported
}
