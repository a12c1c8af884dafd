package acpi

import (
	"errors"
	"fmt"
)

// ErrSpec is wrapped by every error of Build.
var ErrSpec = errors.New("not describable in ACPI tables")

// Spec is the machine, as far as its guest has to be told. All addresses are parameters: this package knows none.
type Spec struct {
	// GPA is where the tables will lie, the RSDP first; 16-byte aligned. Between 0xE0000 and 0xFFFFF a kernel that isn't
	// told the RSDP's address finds it by search. Limit is how many bytes there are.
	GPA   uint64
	Limit uint64

	CPUs       int // local APIC ids 0..CPUs-1, at most 255
	LocalAPIC  uint32
	IOAPIC     uint32
	IOAPICID   uint8
	Overrides  []Override // ISA interrupts that are not GSI = IRQ, edge, active high
	LegacyPICs bool       // a pair of 8259s that the guest shall use

	SleepControl uint16 // ports of the hardware-reduced FADT
	SleepStatus  uint16
	SleepTypeS5  uint8 // SLP_TYP to be written there for soft off, 0-7
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
	ECAM    uint64 // 1 MiB for each bus, below 4 GiB
	LastBus uint8
	IO      []Window // that functions may have their port BARs in
	Memory  []Window // and their memory BARs
	// INTx are the GSIs that pins share: pin p (0 is INTA) of device d is on INTx[(d+p)%4], level-triggered.
	INTx [4]uint32
}

func (p *PCI) ecamSize() uint64 { return (uint64(p.LastBus) + 1) << 20 }

// VirtioMMIO is a virtio-mmio register block below 4 GiB.
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

// Table returns the bytes of the named table, nil if there is none.
func (t *Tables) Table(signature string) []byte {
	for _, e := range t.Index {
		if e.Signature == signature {
			return t.Bytes[e.GPA-t.GPA:][:e.Size]
		}
	}
	return nil
}

// Build makes the tables. A table that points at others comes after them, but for the RSDP, which is first so that its
// address is the caller's choice.
func Build(s Spec) (*Tables, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("acpi: build tables: %w: %w", ErrSpec, err)
	}
	t := &Tables{GPA: s.GPA, RSDP: s.GPA, Bytes: make([]byte, rsdpSize)}
	t.Index = []Table{{"RSD PTR ", s.GPA, rsdpSize}}

	roots := []uint64{t.add(fadt(&s, t.add(table("DSDT", 2, dsdt(&s))))), t.add(madt(&s))}
	if s.PCI != nil {
		roots = append(roots, t.add(mcfg(s.PCI)))
	}
	copy(t.Bytes, rsdp(t.add(xsdt(roots...))))

	if n := uint64(len(t.Bytes)); n > s.Limit {
		return nil, fmt.Errorf("acpi: build tables: %w: %d bytes are more than the %d that they may have", ErrSpec, n, s.Limit)
	}
	return t, nil
}

// add appends a table, on a 16-byte boundary as firmware does, and returns its address.
func (t *Tables) add(table []byte) uint64 {
	const alignment = 16
	for len(t.Bytes)%alignment != 0 {
		t.Bytes = append(t.Bytes, 0)
	}
	gpa := t.GPA + uint64(len(t.Bytes))
	t.Index = append(t.Index, Table{string(table[:4]), gpa, uint64(len(table))})
	t.Bytes = append(t.Bytes, table...)
	return gpa
}
