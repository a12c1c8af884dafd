package boot

import (
	"fmt"
	"os"
	"strings"

	"tandem/boot/acpi"
)

// Protocol is the agreement about the vCPU's state and the first bytes of memory when the kernel is entered.
type Protocol int

const (
	// Auto is the protocol that suits the kernel: Linux64 for Linux, PVH for another that offers it.
	Auto Protocol = iota
	// Linux64 is the 64-bit boot protocol: long mode, identity-mapped, RSI at the zero page. A bzImage is entered in its
	// own decompressor, an ELF kernel at its entry point.
	Linux64
	// PVH is Xen's direct boot: 32-bit protected mode without paging, EBX at struct hvm_start_info.
	PVH
)

func (p Protocol) String() string {
	switch p {
	case Auto:
		return "auto"
	case Linux64:
		return "linux64"
	case PVH:
		return "pvh"
	}
	return fmt.Sprintf("Protocol(%d)", int(p))
}

// MarshalText names the protocol.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Spec is what shall lie in memory when the guest starts.
type Spec struct {
	Kernel   *Kernel
	Protocol Protocol
	Cmdline  string
	// Initrd is laid down part after part and handed over as one. Linux skips zeros between archives, so parts are
	// padded: each to 4 bytes, and one from a file to the next page, so that it can be mapped.
	Initrd []Part
	// Memory is the guest's RAM by rising address, starting at 0, in whole pages. The legacy area below 1 MiB is cut out
	// of the memory map by NewPlan.
	Memory []Range
	// Reserved is told to the guest as reserved in the memory map (the ECAM, as an example).
	Reserved []Range
	// ACPI is laid down where it was built for, and its root handed to the kernel; nil for none.
	ACPI *acpi.Tables
	// Reset, if any, is what a guest has to do for the machine to be reset. It is put where a BIOS is entered after a
	// reset: Linux jumps there when it knows no better way, as on a hardware-reduced machine that it takes to have EFI.
	Reset *PortWrite
	// Seed, if any, is given to Linux's random number generator: up to 2 KiB of the host's, new for each boot. PVH has no
	// place for it.
	Seed []byte
}

// PortWrite is a byte written to an I/O port.
type PortWrite struct {
	Port  uint16
	Value uint8
}

// Range is a stretch of guest-physical addresses.
type Range struct {
	GPA  uint64 `json:"gpa"`
	Size uint64 `json:"size"`
}

// End is the first address after the range.
func (r Range) End() uint64 { return r.GPA + r.Size }

func (r Range) String() string { return fmt.Sprintf("%#x-%#x", r.GPA, r.End()) }

// contains tells whether all of inner is in r.
func (r Range) contains(inner Range) bool {
	return inner.GPA >= r.GPA && inner.GPA <= r.End() && inner.Size <= r.End()-inner.GPA
}

// overlaps tells whether the ranges have a byte in common.
func (r Range) overlaps(other Range) bool { return r.GPA < other.End() && other.GPA < r.End() }

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
	// Immutable promises that nobody writes to File or truncates it while the guest runs, so that its pages may be
	// mapped: a shorter file would be a bus error in the monitor.
	Immutable bool
}

// BytesPart is a part held in memory.
func BytesPart(name string, data []byte) Part {
	return Part{Name: name, Size: uint64(len(data)), Source: Source{Data: data}}
}

// FilePart is the whole of f as a part. f must stay open until the plan has been loaded.
func FilePart(name string, f *os.File, immutable bool) (Part, error) {
	info, err := f.Stat()
	if err != nil {
		return Part{}, fmt.Errorf("boot: initrd %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return Part{}, fmt.Errorf("boot: initrd %s: %w: %v of %d bytes, want a regular file that isn't empty", name, ErrSpec,
			info.Mode(), info.Size())
	}
	return Part{Name: name, Size: uint64(info.Size()), Source: Source{File: f, Immutable: immutable}}, nil
}

// maxSeed keeps struct setup_data in its page.
const maxSeed = 2048

func (s *Spec) check() error {
	if s.Kernel == nil {
		return fmt.Errorf("%w: no kernel", ErrSpec)
	}
	if len(s.Seed) > maxSeed {
		return fmt.Errorf("%w: a seed of %d bytes, at most %d are possible", ErrSpec, len(s.Seed), maxSeed)
	}
	if err := s.checkCmdline(); err != nil {
		return err
	}
	return s.checkMemory()
}

// checkCmdline compares with COMMAND_LINE_SIZE, which the setup header tells without the NUL at the end. The kernel
// would cut a longer one off without a word, and boot with half of what was asked for.
func (s *Spec) checkCmdline() error {
	limit := uint64(2047)
	if s.Kernel.Setup != nil {
		limit = uint64(s.Kernel.Setup.CmdlineSize)
	}
	limit = min(limit, cmdlineRoom-1)
	if n := len(s.Cmdline); uint64(n) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d fit", ErrCmdline, n, limit)
	}
	if at := strings.IndexByte(s.Cmdline, 0); at >= 0 {
		return fmt.Errorf("%w: a NUL at byte %d would end it", ErrCmdline, at)
	}
	return nil
}

func (s *Spec) checkMemory() error {
	const least = 2 << 20 // 1 MiB is the legacy area's
	if len(s.Memory) == 0 || s.Memory[0].GPA != 0 || s.Memory[0].Size < least {
		return fmt.Errorf("%w: no %d KiB of memory from address 0 on: %v", ErrNoRoom, least>>10, s.Memory)
	}
	var end uint64
	for _, r := range s.Memory {
		switch {
		case r.GPA%pageSize != 0 || r.Size%pageSize != 0 || r.Size == 0:
			return fmt.Errorf("%w: memory %v is not whole pages", ErrSpec, r)
		case r.GPA < end || r.End() < r.GPA:
			return fmt.Errorf("%w: memory %v is not above the range before it", ErrSpec, r)
		}
		end = r.End()
	}
	for _, r := range s.Reserved {
		if r.Size == 0 || r.End() < r.GPA {
			return fmt.Errorf("%w: reserved range %v", ErrSpec, r)
		}
	}
	return nil
}
