package acpi

import "encoding/binary"

// le is the byte order of every ACPI field.
var le = binary.LittleEndian

const headerSize = 36

// table puts the System Description Table Header (5.2.6) in front of a table's body; its checksum makes the sum of all
// bytes 0.
func table(signature string, revision byte, body []byte) []byte {
	t := make([]byte, headerSize, headerSize+len(body))
	copy(t[0:4], signature)
	le.PutUint32(t[4:], uint32(headerSize+len(body)))
	t[8] = revision
	copy(t[10:16], "TANDEM")
	copy(t[16:24], "TANDEMVM")
	le.PutUint32(t[24:], 1) // OEM revision
	copy(t[28:32], "TNDM")
	le.PutUint32(t[32:], 1) // creator revision
	t = append(t, body...)
	t[9] = checksum(t)
	return t
}

// checksum is the byte that makes the sum of b and itself 0.
func checksum(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return -sum
}

const rsdpSize = 36

// rsdp is the Root System Description Pointer (5.2.5.3). Its first checksum covers the part that ACPI 1.0 had.
func rsdp(xsdt uint64) []byte {
	const version1Size = 20
	r := make([]byte, rsdpSize)
	copy(r, "RSD PTR ")
	copy(r[9:15], "TANDEM")
	r[15] = 2 // revision: there is an XSDT, and no RSDT
	le.PutUint32(r[20:], rsdpSize)
	le.PutUint64(r[24:], xsdt)
	r[8] = checksum(r[:version1Size])
	r[32] = checksum(r)
	return r
}

// xsdt is the Extended System Description Table (5.2.8): addresses of the other tables. The DSDT isn't among them, the
// FADT has it.
func xsdt(tables ...uint64) []byte {
	var body []byte
	for _, t := range tables {
		body = le.AppendUint64(body, t)
	}
	return table("XSDT", 1, body)
}

// Bits of the FADT (5.2.9): IAPC_BOOT_ARCH and Flags.
const (
	bootLegacyDevices = 1 << 0
	boot8042          = 1 << 1
	bootNoVGA         = 1 << 2
	bootNoASPM        = 1 << 4
	bootNoCMOSClock   = 1 << 5

	fadtWBINVD          = 1 << 0 // caches can be written back and invalidated
	fadtProcC1          = 1 << 2 // HLT works on all processors
	fadtPowerButton     = 1 << 4 // no power button in fixed registers,
	fadtSleepButton     = 1 << 5 // no sleep button,
	fadtFixedRTC        = 1 << 6 // and no wake-up by the clock
	fadtResetRegister   = 1 << 10
	fadtHeadless        = 1 << 12
	fadtHardwareReduced = 1 << 20
)

// fadt is the Fixed ACPI Description Table of a hardware-reduced machine (4.1): no power management registers, timer
// or system control interrupt, whose fields stay 0; two ports to sleep and one to reset instead.
func fadt(s *Spec, dsdt uint64) []byte {
	const size, revision, minor = 276, 6, 5
	b := make([]byte, size)
	put32 := func(at int, v uint32) { le.PutUint32(b[at:], v) }

	// No boot8042: what answers at 0x64 only resets, and a guest that looked for a keyboard behind it would wait for one.
	arch := uint16(bootNoVGA | bootNoASPM)
	if len(s.Serial) > 0 {
		arch |= bootLegacyDevices
	}
	if s.RTC == nil {
		arch |= bootNoCMOSClock
	}
	le.PutUint16(b[109:], arch)
	put32(112, fadtWBINVD|fadtProcC1|fadtPowerButton|fadtSleepButton|fadtFixedRTC|fadtResetRegister|fadtHeadless|
		fadtHardwareReduced)
	copy(b[116:], portRegister(s.Reset))
	b[128] = s.ResetValue
	b[131] = minor
	if dsdt < 1<<32 {
		put32(40, uint32(dsdt)) // as the 32-bit field must agree with the other if it isn't 0
	}
	le.PutUint64(b[140:], dsdt)
	copy(b[244:], portRegister(s.SleepControl))
	copy(b[256:], portRegister(s.SleepStatus))
	copy(b[268:276], "TANDEM") // hypervisor vendor identity
	return table("FACP", revision, b[headerSize:])
}

// portRegister is a Generic Address Structure (5.2.3.2) for an 8-bit I/O port.
func portRegister(port uint16) []byte {
	const systemIO, bits, bitOffset, byteAccess = 1, 8, 0, 1
	return le.AppendUint64([]byte{systemIO, bits, bitOffset, byteAccess}, uint64(port))
}

// madt is the Multiple APIC Description Table (5.2.12): the processors, where interrupts arrive, and which are not
// where a PC has them.
func madt(s *Spec) []byte {
	const pcatCompatible, enabled = 1 << 0, 1 << 0
	var flags uint32
	if s.LegacyPICs {
		flags |= pcatCompatible
	}
	b := le.AppendUint32(nil, s.LocalAPIC)
	b = le.AppendUint32(b, flags)

	const localAPIC, ioAPIC, sourceOverride, localNMI = 0, 1, 2, 4
	for cpu := range s.CPUs {
		b = append(b, localAPIC, 8, byte(cpu), byte(cpu)) // processor UID, APIC id
		b = le.AppendUint32(b, enabled)
	}
	b = append(b, ioAPIC, 12, s.IOAPICID, 0)
	b = le.AppendUint32(b, s.IOAPIC)
	b = le.AppendUint32(b, 0) // its first GSI
	for _, o := range s.Overrides {
		const isa = 0
		b = append(b, sourceOverride, 10, isa, o.Source)
		b = le.AppendUint32(b, o.GSI)
		b = le.AppendUint16(b, o.mpsFlags())
	}
	const allProcessors, conforms, lint1 = 0xff, 0, 1 // NMIs arrive at LINT1 of every processor, as on a PC
	b = append(b, localNMI, 6, allProcessors)
	b = le.AppendUint16(b, conforms)
	b = append(b, lint1)
	return table("APIC", 6, b)
}

// mpsFlags are the MPS INTI flags (table 5.26): two bits of polarity, two of trigger mode.
func (i Interrupt) mpsFlags() uint16 {
	const high, low, edge, level = 1, 3, 1 << 2, 3 << 2
	flags := uint16(high)
	if i.ActiveLow {
		flags = low
	}
	if i.Level {
		return flags | level
	}
	return flags | edge
}

// mcfg is the table of the PCI Firmware Specification (3.2, 4.1.2) that tells where configuration space is mapped.
func mcfg(p *PCI) []byte {
	b := make([]byte, 8) // reserved
	b = le.AppendUint64(b, p.ECAM)
	const segment, firstBus = 0, 0
	b = le.AppendUint16(b, segment)
	b = append(b, firstBus, p.LastBus)
	return table("MCFG", 1, append(b, 0, 0, 0, 0))
}
