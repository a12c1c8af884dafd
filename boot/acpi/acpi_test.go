package acpi

import (
	"errors"
	"testing"
)

// machine is a Spec with one of everything.
func machine() Spec {
	edge := func(gsi uint32) Interrupt { return Interrupt{GSI: gsi} }
	clock := edge(8)
	return Spec{
		GPA: 0xe0000, Limit: 0x20000,
		CPUs: 4, LocalAPIC: 0xfee0_0000, IOAPIC: 0xfec0_0000, IOAPICID: 0,
		Overrides:    []Override{{Source: 9, Interrupt: Interrupt{GSI: 9, Level: true, ActiveLow: true}}},
		SleepControl: 0x600, SleepStatus: 0x601, SleepTypeS5: 5, Reset: 0x602, ResetValue: 1,
		PCI: &PCI{
			ECAM:   0xe000_0000,
			IO:     []Window{{0x1000, 0xf000}},
			Memory: []Window{{0xc000_0000, 0x2000_0000}, {0x80_0000_0000, 0x10_0000_0000}},
			INTx:   [4]uint32{16, 17, 18, 19},
		},
		VirtioMMIO: []VirtioMMIO{
			{Window{0xfeb0_0000, 0x1000}, Interrupt{GSI: 5, Level: true}},
			{Window{0xfeb0_1000, 0x1000}, edge(20)},
		},
		Serial: []Serial{{0x3f8, edge(4)}, {0x2f8, edge(3)}},
		RTC:    &RTC{Port: 0x70, Interrupt: &clock},
	}
}

func build(t *testing.T, s Spec) *Tables {
	t.Helper()
	tables, err := Build(s)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

// TestLinks walks the tables the way a kernel does, from the RSDP on, and checks each checksum on its way.
func TestLinks(t *testing.T) {
	tables := build(t, machine())
	at := func(gpa uint64) []byte {
		t.Helper()
		offset := gpa - tables.GPA
		if gpa < tables.GPA || offset+headerSize > uint64(len(tables.Bytes)) {
			t.Fatalf("a table at %#x, the tables are %d bytes at %#x", gpa, len(tables.Bytes), tables.GPA)
		}
		b := tables.Bytes[offset:]
		b = b[:le.Uint32(b[4:])]
		if s := sum(b); s != 0 {
			t.Errorf("the bytes of %s at %#x add up to %#x", b[:4], gpa, s)
		}
		return b
	}

	root := tables.Bytes[tables.RSDP-tables.GPA:][:36]
	if got := string(root[:8]); got != "RSD PTR " {
		t.Fatalf("the RSDP starts with %q", got)
	}
	if sum(root[:20]) != 0 || sum(root) != 0 {
		t.Errorf("the RSDP's bytes add up to %#x in version 1, %#x in version 2", sum(root[:20]), sum(root))
	}

	seen := map[string]bool{}
	for pointers := at(le.Uint64(root[24:]))[36:]; len(pointers) > 0; pointers = pointers[8:] {
		seen[string(at(le.Uint64(pointers))[:4])] = true
	}
	for _, want := range []string{"FACP", "APIC", "MCFG"} {
		if !seen[want] {
			t.Errorf("the XSDT has no %s", want)
		}
	}
	fadt := tables.Table("FACP")
	if low, high := uint64(le.Uint32(fadt[40:])), le.Uint64(fadt[140:]); low != high || string(at(high)[:4]) != "DSDT" {
		t.Errorf("the FADT's DSDT is at %#x and at %#x", low, high)
	}
	if len(tables.Index) != 6 {
		t.Errorf("%d tables indexed, want 6", len(tables.Index))
	}
}

func TestFADTWithoutClockOrSerial(t *testing.T) {
	arch := func(s Spec) uint16 { return le.Uint16(build(t, s).Table("FACP")[109:]) }
	if got := arch(machine()); got&bootNoCMOSClock != 0 || got&bootLegacyDevices == 0 || got&boot8042 != 0 {
		t.Errorf("IAPC_BOOT_ARCH of a machine with clock and serial ports = %#x", got)
	}
	bare := machine()
	bare.RTC, bare.Serial = nil, nil
	if got := arch(bare); got&bootNoCMOSClock == 0 || got&bootLegacyDevices != 0 {
		t.Errorf("IAPC_BOOT_ARCH of a machine without = %#x", got)
	}
}

func TestMADTHasEachCPU(t *testing.T) {
	for _, cpus := range []int{1, 32, 255} {
		s := machine()
		s.CPUs = cpus
		var ids []byte
		for entry := build(t, s).Table("APIC")[44:]; len(entry) > 0; entry = entry[entry[1]:] {
			if entry[0] == 0 {
				ids = append(ids, entry[3])
			}
		}
		if len(ids) != cpus || ids[0] != 0 || int(ids[cpus-1]) != cpus-1 {
			t.Errorf("%d CPUs have the APIC ids %v", cpus, ids)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(*Spec)
	}{
		{"GPA off the boundary", func(s *Spec) { s.GPA++ }},
		{"limit past the end", func(s *Spec) { s.Limit = ^uint64(0) }},
		{"limit too small", func(s *Spec) { s.Limit = 1000 }},
		{"no CPU", func(s *Spec) { s.CPUs = 0 }},
		{"256 CPUs", func(s *Spec) { s.CPUs = 256 }},
		{"sleep type of four bits", func(s *Spec) { s.SleepTypeS5 = 8 }},
		{"override of IRQ 16", func(s *Spec) { s.Overrides[0].Source = 16 }},
		{"17 overrides", func(s *Spec) { s.Overrides = make([]Override, 17) }},
		{"sixteen serial ports", func(s *Spec) { s.Serial = make([]Serial, 16) }},
		{"4097 virtio-mmio devices", func(s *Spec) { s.VirtioMMIO = make([]VirtioMMIO, 4097) }},
		{"virtio-mmio above 4 GiB", func(s *Spec) { s.VirtioMMIO[0].Registers.Base = 1 << 32 }},
		{"virtio-mmio of no size", func(s *Spec) { s.VirtioMMIO[0].Registers.Size = 0 }},
		{"ECAM across 4 GiB", func(s *Spec) { s.PCI.ECAM = 1<<32 - 1<<19 }},
		{"ports above 64 Ki", func(s *Spec) { s.PCI.IO[0].Size = 1 << 16 }},
		{"memory window wraps", func(s *Spec) { s.PCI.Memory[0].Size = ^uint64(0) }},
	}
	for _, c := range cases {
		s := machine()
		c.spoil(&s)
		if _, err := Build(s); !errors.Is(err, ErrSpec) {
			t.Errorf("Build with %s: error %v, want ErrSpec", c.name, err)
		}
	}
}

func TestPkgLength(t *testing.T) {
	// Lengths on both sides of each change of encoding, against ACPI 6.5, 20.2.4.
	for _, body := range []int{0, 62, 63, 4093, 4094, 1<<20 - 4, 1<<20 - 3} {
		got := pkgLength(make([]byte, body))
		extra := int(got[0] >> 6)
		length := int(got[0] & 0x3f)
		if extra > 0 {
			length = int(got[0] & 0xf)
			for i := range extra {
				length |= int(got[1+i]) << (4 + 8*i)
			}
		}
		if length != len(got) || len(got) != body+1+extra {
			t.Errorf("pkgLength of %d bytes says %d for %d bytes with %d extra", body, length, len(got), extra)
		}
	}
}
