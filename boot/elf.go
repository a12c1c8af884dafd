package boot

// Image is what an ELF kernel's headers ask for.
type Image struct {
	Entry    uint64 // e_entry: for Linux the physical address of startup_64
	PVHEntry uint64 // XEN_ELFNOTE_PHYS32_ENTRY, 0 if the kernel has none
	Loads    []Load // PT_LOAD segments by rising address, not overlapping
}

// Load is a PT_LOAD segment: FileSize bytes at Offset in the file go to PhysAddr, and zeros up to MemSize.
type Load struct {
	PhysAddr uint64
	Offset   int64
	FileSize uint64
	MemSize  uint64
}

// Range is the guest-physical addresses that the image covers from its first to its last segment.
func (i *Image) Range() Range {
	first, last := i.Loads[0], i.Loads[len(i.Loads)-1]
	return Range{GPA: first.PhysAddr, Size: last.PhysAddr + last.MemSize - first.PhysAddr}
}
