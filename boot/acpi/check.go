package acpi

import "fmt"

// Limits of the tables' fields and of the names given to devices.
const (
	maxCPUs       = 255  // an APIC id has eight bits, and 255 means all
	maxSerial     = 15   // COM1..COMF
	maxVirtioMMIO = 4096 // V000..VFFF
	maxSleepType  = 7    // SLP_TYP has three bits
	maxOverrides  = 16   // ISA has sixteen interrupts
)

func (s *Spec) check() error {
	switch {
	case s.GPA%16 != 0:
		return fmt.Errorf("GPA %#x is not on a 16-byte boundary, where the RSDP is looked for", s.GPA)
	case s.GPA+s.Limit < s.GPA:
		return fmt.Errorf("GPA %#x and limit %#x reach beyond the address space", s.GPA, s.Limit)
	case s.CPUs < 1 || s.CPUs > maxCPUs:
		return fmt.Errorf("%d CPUs, 1 to %d are possible", s.CPUs, maxCPUs)
	case s.SleepTypeS5 > maxSleepType:
		return fmt.Errorf("sleep type %d, 0 to %d are possible", s.SleepTypeS5, maxSleepType)
	case len(s.Serial) > maxSerial:
		return fmt.Errorf("%d serial ports, at most %d have a name", len(s.Serial), maxSerial)
	case len(s.VirtioMMIO) > maxVirtioMMIO:
		return fmt.Errorf("%d virtio-mmio devices, at most %d have a name", len(s.VirtioMMIO), maxVirtioMMIO)
	case len(s.Overrides) > maxOverrides:
		return fmt.Errorf("%d interrupt overrides, ISA has %d interrupts", len(s.Overrides), maxOverrides)
	}
	for _, o := range s.Overrides {
		if o.Source >= maxOverrides {
			return fmt.Errorf("override of ISA interrupt %d, there are 0 to %d", o.Source, maxOverrides-1)
		}
	}
	for i, d := range s.VirtioMMIO {
		if err := d.Registers.check(fmt.Sprintf("virtio-mmio device %d", i), 1<<32); err != nil {
			return err
		}
	}
	if s.PCI != nil {
		return s.PCI.check()
	}
	return nil
}

func (p *PCI) check() error {
	if err := (Window{p.ECAM, p.ecamSize()}).check("ECAM", 1<<32); err != nil {
		return err
	}
	for _, w := range p.IO {
		if err := w.check("PCI I/O window", 1<<16); err != nil {
			return err
		}
	}
	for _, w := range p.Memory {
		if err := w.check("PCI memory window", 1<<52); err != nil {
			return err
		}
	}
	return nil
}

// check wants a window that isn't empty and ends at limit at the latest.
func (w Window) check(what string, limit uint64) error {
	if w.Size == 0 || w.Base >= limit || w.Size > limit-w.Base {
		return fmt.Errorf("%s at %#x with %#x bytes is not below %#x", what, w.Base, w.Size, limit)
	}
	return nil
}
