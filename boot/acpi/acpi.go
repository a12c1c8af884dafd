package acpi

import "errors"

// Spec is the machine, as far as its guest has to be told. All addresses are parameters: boot/acpi knows none.
type Spec struct {
	// GPA is where the tables will lie, the RSDP first; 16-byte aligned. Between 0xE0000 and 0xFFFFF a kernel that isn't
	// told the RSDP's address finds it by search. Limit is how many bytes there are.
	GPA   uint64
	Limit uint64

	CPUs       int // local APIC ids 0..CPUs-1
	LocalAPIC  uint32
	IOAPIC     uint32
	IOAPICID   uint8
	Overrides  []Override // ISA interrupts that are not GSI = IRQ, edge, active high
	LegacyPICs bool       // a pair of 8259s that the guest shall use

	SleepControl uint16 // ports of the hardware-reduced FADT
	SleepStatus  uint16
	SleepTypeS5  uint8 // SLP_TYP to be written there for soft off
	Reset        uint16
	ResetValue   uint8

	PCI        *PCI
	VirtioMMIO []VirtioMMIO
	Serial     []Serial
	RTC        *RTC
}

// Interrupt is a global system interrupt and how its line behaves.
type Interrupt struct {
	GSI       uint32
	Level     bool // level-triggered, else edge
	ActiveLow bool
	Shared    bool
}

// Override is a MADT interrupt source override: ISA IRQ Source arrives at Interrupt.
type Override struct {
	Source uint8
	Interrupt
}

// Window is a stretch of addresses or ports.
type Window struct {
	Base uint64
	Size uint64
}

// PCI is the host bridge with bus 0 to LastBus.
type PCI struct {
	ECAM    uint64 // 1 MiB for each bus
	LastBus uint8
	IO      []Window // that functions may have their port BARs in
	Memory  []Window // and their memory BARs
	// INTx are the interrupts that pins share: pin p (0 is INTA) of device d is on INTx[(d+p)%4].
	INTx [4]Interrupt
}

// VirtioMMIO is a virtio-mmio register block.
type VirtioMMIO struct {
	Registers Window
	Interrupt Interrupt
}

// Serial is a 16550 UART.
type Serial struct {
	Port      uint16
	Interrupt Interrupt
}

// RTC is a CMOS clock: two ports, and an interrupt if it has alarms.
type RTC struct {
	Port      uint16
	Interrupt *Interrupt
}

// Tables are the finished tables, to be laid at GPA.
type Tables struct {
	GPA   uint64 // of Bytes
	RSDP  uint64
	Bytes []byte
	Index []Table // what Bytes holds, in order
}

// Table names a table in Tables.Bytes.
type Table struct {
	Signature string
	GPA       uint64
	Size      uint64
}

// Build makes the tables.
func Build(s Spec) (*Tables, error) { return nil, errors.ErrUnsupported }
