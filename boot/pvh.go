package boot

import "fmt"

// The structures of Xen's public header arch-x86/hvm/start_info.h.
const (
	startInfoMagic   = 0x336ec578 // "xEn3" with the top bit of the E set
	startInfoVersion = 1          // with a memory map
	startInfoSize    = 56         // struct hvm_start_info
	moduleSize       = 32         // struct hvm_modlist_entry
	memmapEntrySize  = 24         // struct hvm_memmap_table_entry
)

// startInfo is struct hvm_start_info, followed by the module list and the memory map that it points at.
func startInfo(s *Spec, l *layout) []byte {
	const modules, memmap = startInfoGPA + startInfoSize, startInfoGPA + startInfoSize + moduleSize
	var b []byte
	b = le.AppendUint32(b, startInfoMagic)
	b = le.AppendUint32(b, startInfoVersion)
	b = le.AppendUint32(b, 0) // flags
	if l.initrd.Size > 0 {
		b = le.AppendUint32(b, 1)
		b = le.AppendUint64(b, modules)
	} else {
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, 0)
	}
	b = le.AppendUint64(b, cmdlineGPA)
	var root uint64
	if s.ACPI != nil {
		root = s.ACPI.RSDP
	}
	b = le.AppendUint64(b, root)
	b = le.AppendUint64(b, memmap)
	b = le.AppendUint32(b, uint32(len(l.e820)))
	b = le.AppendUint32(b, 0) // reserved

	b = le.AppendUint64(b, l.initrd.GPA)
	b = le.AppendUint64(b, l.initrd.Size)
	b = le.AppendUint64(b, 0) // a module's own command line
	b = le.AppendUint64(b, 0) // reserved

	for _, e := range l.e820 {
		b = le.AppendUint64(b, e.GPA)
		b = le.AppendUint64(b, e.Size)
		b = le.AppendUint32(b, uint32(e.Type))
		b = le.AppendUint32(b, 0) // reserved
	}
	return b
}

// pvh lays down what PVH wants (Xen, docs/misc/pvh.pandoc), and sets the state to enter the kernel with.
func (l *layout) pvh(s *Spec) error {
	k := s.Kernel
	if k.Format != ELF {
		return fmt.Errorf("%w: a bzImage is not entered by PVH; unpack it first", ErrProtocol)
	}
	entry := k.Image.PVHEntry
	if entry == 0 {
		return fmt.Errorf("%w: PVH, the kernel has no XEN_ELFNOTE_PHYS32_ENTRY", ErrProtocol)
	}
	if !k.Image.holds(entry) {
		return fmt.Errorf("%w: PVH entry %#x is in none of the segments %v", ErrCorrupt, entry, k.Image.Range())
	}
	l.bytes("GDT", "flat 32-bit segments", gdtGPA, gdtBytes(gdt32))
	l.bytes("start info", "struct hvm_start_info: memory map, command line, initrd, ACPI", startInfoGPA, startInfo(s, l))
	l.entry = entry32(entry)
	return nil
}
