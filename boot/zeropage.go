package boot

import "fmt"

// Offsets in struct boot_params, the zero page (Linux, Documentation/arch/x86/zero-page.rst), besides the setup header,
// which is in it at the offsets of the file.
const (
	offACPIRSDP    = 0x070
	offE820Entries = 0x1e8
	offE820Table   = 0x2d0

	maxE820       = 128
	e820EntrySize = 20
)

const (
	loaderUndefined = 0xff   // type_of_loader: one without a number of its own
	vidModeNormal   = 0xffff // vid_mode: "normal"

	setupRNGSeed = 9 // setup_data type SETUP_RNG_SEED

	// For a kernel that came without a setup header, as a plain vmlinux does, the version to claim: 2.15.
	newestVersion = 0x020f
)

// zeroPage is struct boot_params: what a boot loader would have left for the kernel. All that isn't set is 0, "not
// there": no screen, no disks, no APM.
func zeroPage(s *Spec, l *layout) []byte {
	b := make([]byte, pageSize)
	if setup := s.Kernel.Setup; setup != nil {
		copy(b[offSetupSects:], setup.raw)
	} else {
		le.PutUint16(b[offBootFlag:], bootFlag)
		copy(b[offMagic:], setupMagic)
		le.PutUint16(b[offVersion:], newestVersion)
	}
	b[offLoaderType] = loaderUndefined
	b[offLoadFlags] |= loadedHigh
	le.PutUint16(b[offVidMode:], vidModeNormal)
	le.PutUint32(b[offCmdlinePtr:], cmdlineGPA)
	if l.initrd.Size > 0 {
		le.PutUint32(b[offRamdiskImage:], uint32(l.initrd.GPA))
		le.PutUint32(b[offRamdiskSize:], uint32(l.initrd.Size))
	}
	if len(s.Seed) > 0 {
		le.PutUint64(b[offSetupData:], setupDataGPA)
	}
	if s.ACPI != nil {
		le.PutUint64(b[offACPIRSDP:], s.ACPI.RSDP)
	}
	b[offE820Entries] = byte(len(l.e820))
	for n, e := range l.e820 {
		entry := b[offE820Table+n*e820EntrySize:]
		le.PutUint64(entry, e.GPA)
		le.PutUint64(entry[8:], e.Size)
		le.PutUint32(entry[16:], uint32(e.Type))
	}
	return b
}

// seedData is a struct setup_data with the seed. Linux mixes it in before it knows of any device, so that nothing waits
// for randomness, and erases it.
func seedData(seed []byte) []byte {
	b := make([]byte, 8, 16+len(seed)) // next: none
	b = le.AppendUint32(b, setupRNGSeed)
	b = le.AppendUint32(b, uint32(len(seed)))
	return append(b, seed...)
}

// linux64 lays down what the 64-bit boot protocol wants, and returns the state to enter the kernel with.
func (l *layout) linux64(s *Spec) error {
	entry := uint64(0)
	if k := s.Kernel; k.Format == BzImage {
		const startup64 = 0x200 // from the protected-mode code's start
		entry = l.kernel.GPA + startup64
	} else if entry = k.Image.Entry; !k.Image.holds(entry) {
		return fmt.Errorf("%w: entry %#x is in none of the segments %v", ErrCorrupt, entry, k.Image.Range())
	}
	l.bytes("GDT", "flat segments; the protocol names 0x10 for code and 0x18 for data", gdtGPA, gdtBytes(gdt64))
	l.bytes("zero page", "struct boot_params: memory map, command line, initrd, ACPI", zeroPageGPA, zeroPage(s, l))
	if len(s.Seed) > 0 {
		l.bytes("seed", "struct setup_data SETUP_RNG_SEED, so that nothing waits for randomness", setupDataGPA, seedData(s.Seed))
	}
	l.bytes("page tables", "the first 4 GiB mapped to themselves, as long mode cannot be without paging", pageTableGPA, pageTables())
	l.entry = entry64(entry)
	return nil
}
