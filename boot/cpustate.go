package boot

// Descriptors: flat segments, base 0. The accessed bit is set, since the processor would set it, and a monitor that
// loads the hidden part of a segment register by hand must have it (VMX checks).
const (
	code64 Descriptor = 0x00af_9b00_0000_ffff // 64-bit, execute and read
	code32 Descriptor = 0x00cf_9b00_0000_ffff // 32-bit, 4 GiB, execute and read
	data   Descriptor = 0x00cf_9300_0000_ffff // 4 GiB, read and write
	task   Descriptor = 0x0000_8b00_0000_0067 // busy TSS of the least size; never switched to, but TR has to be valid
)

// A GDT has the selectors that Linux's boot protocol prescribes: __BOOT_CS 0x10, __BOOT_DS 0x18.
var (
	gdt64 = []Descriptor{2: code64, 3: data, 4: task, 5: 0} // in long mode a TSS descriptor has two slots
	gdt32 = []Descriptor{2: code32, 3: data, 4: task}
)

const (
	codeSelector = 0x10
	dataSelector = 0x18
	taskSelector = 0x20
)

// Bits of the control registers (Intel SDM volume 3, 2.5 and 2.2.1).
const (
	cr0PE = 1 << 0
	cr0ET = 1 << 4 // always set
	cr0PG = 1 << 31

	cr4PAE = 1 << 5

	eferLME = 1 << 8
	eferLMA = 1 << 10
)

func entry64(rip uint64) Entry {
	e := flat(Long64, rip, gdt64)
	e.RSP, e.RSI = stackTop, zeroPageGPA
	e.CR0, e.CR3, e.CR4, e.EFER = cr0PE|cr0ET|cr0PG, pageTableGPA, cr4PAE, eferLME|eferLMA
	return e
}

func entry32(rip uint64) Entry {
	e := flat(Protected32, rip, gdt32)
	e.RSP, e.RBX = stackTop, startInfoGPA
	e.CR0 = cr0PE | cr0ET
	return e
}

func flat(mode Mode, rip uint64, gdt []Descriptor) Entry {
	return Entry{
		Mode: mode, RIP: rip, GDT: gdtGPA, GDTLimit: uint16(8*len(gdt) - 1),
		Code: Selector{codeSelector, gdt[codeSelector/8]},
		Data: Selector{dataSelector, gdt[dataSelector/8]},
		Task: Selector{taskSelector, gdt[taskSelector/8]},
	}
}

func gdtBytes(gdt []Descriptor) []byte {
	var b []byte
	for _, d := range gdt {
		b = le.AppendUint64(b, uint64(d))
	}
	return b
}

// pageTables maps the first 4 GiB to themselves in pages of 2 MiB: one PML4 with one entry, one page directory pointer
// table with four, four page directories. (One-gigabyte pages would save the four, but not every processor has them.)
func pageTables() []byte {
	const (
		entries, directories = 512, 4
		hugePage             = 2 << 20

		present, writable, large = 1 << 0, 1 << 1, 1 << 7
	)
	b := make([]byte, 0, (2+directories)*pageSize)
	table := func(n int, entry func(i uint64) uint64) {
		for i := range entries {
			var e uint64
			if i < n {
				e = entry(uint64(i)) | present | writable
			}
			b = le.AppendUint64(b, e)
		}
	}
	table(1, func(uint64) uint64 { return pageTableGPA + pageSize })
	table(directories, func(i uint64) uint64 { return pageTableGPA + (2+i)*pageSize })
	for d := range uint64(directories) {
		table(entries, func(i uint64) uint64 { return (d*entries+i)*hugePage | large })
	}
	return b
}
