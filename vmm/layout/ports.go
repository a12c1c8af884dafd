package layout

// I/O ports. A port access is one to four bytes at a 16-bit address.
const (
	I8042Data    = 0x60 // keyboard controller
	I8042Command = 0x64

	CMOSIndex = 0x70 // real-time clock
	CMOSData  = 0x71

	// POST is where firmware shows its progress on a pair of digits; Linux
	// writes to it as a short delay between port accesses.
	POST = 0x80

	COM2     = 0x2F8
	COM1     = 0x3F8
	COMPorts = 8

	// ACPI's sleep control and status registers and its reset register, as
	// the hardware-reduced FADT names them (ACPI 6.5, 4.8.3.7 and 4.8.3.6).
	SleepControl = 0x600
	SleepStatus  = 0x601
	Reset        = 0x602
	ResetValue   = 1

	// SleepTypeS5 is what the DSDT's \_S5 object tells the guest to write in
	// SLP_TYPx for soft off; bit 5 (SLP_EN) makes it happen.
	SleepTypeS5 = 5
	SleepEnable = 1 << 5

	// BootTimer takes one byte; the guest's init writes BootTimerInit as its
	// first act.
	BootTimer     = 0x610
	BootTimerInit = 1

	PCIAddress = 0xCF8 // PCI configuration, mechanism 1
	PCIData    = 0xCFC
)
