package boot

const pageSize = 4096

// Where boot puts what the kernel is entered with: in the first 640 KiB, which every machine has and no kernel that
// boot accepts is loaded to. Page 0 is left alone, as the BIOS data area is there, by which a guest can leave word of a
// warm reboot (0x472). All of it is the guest's to reuse as soon as it has read it.
const (
	gdtGPA       = 0x1000
	startInfoGPA = 0x2000 // struct hvm_start_info and what it points at
	stackTop     = 0x7000 // grows down from the zero page; Linux has a stack of its own before it needs one
	zeroPageGPA  = 0x7000 // struct boot_params
	setupDataGPA = 0x8000
	pageTableGPA = 0x9000 // six pages
	cmdlineGPA   = 0x2_0000
	cmdlineRoom  = 0x1_0000

	// What a PC has between its first 640 KiB and 1 MiB: the extended BIOS data area, the VGA card's memory, ROMs. Here
	// there is RAM, of which the guest uses none, but ACPI tables may lie in it.
	ebdaGPA   = 0x9_fc00
	biosGPA   = 0xf_fff0 // a BIOS's first instruction after a reset
	legacyEnd = 0x10_0000
)

// biosReset is 16-bit code for the reset vector: a guest that jumps there wants the machine reset.
//
//	mov dx, port; mov al, value; out dx, al; hlt; jmp hlt
func biosReset(w PortWrite) []byte {
	return []byte{0xba, byte(w.Port), byte(w.Port >> 8), 0xb0, w.Value, 0xee, 0xf4, 0xeb, 0xfd}
}
