package acpi

import "fmt"

// dsdt is the byte code of the Differentiated System Description Table: the devices that cannot be found by looking.
func dsdt(s *Spec) []byte {
	var devices [][]byte
	if s.PCI != nil {
		devices = append(devices, pciRoot(s.PCI), pciReserved(s.PCI))
	}
	for i, port := range s.Serial {
		devices = append(devices, serial(i, port))
	}
	if s.RTC != nil {
		devices = append(devices, rtc(s.RTC))
	}
	for i, d := range s.VirtioMMIO {
		devices = append(devices, virtioMMIO(i, d))
	}
	return concat(
		scope(`\_SB_`, devices...),
		// Package elements are SLP_TYPa, SLP_TYPb and two reserved ones (7.4.2); the guest writes the first one to the
		// sleep control register.
		name(`\_S5_`, pkg(integer(uint64(s.SleepTypeS5)), integer(0), integer(0), integer(0))),
	)
}

// virtioMMIO has the _HID that Linux's virtio_mmio driver is bound to; with it the command line needs no
// virtio_mmio.device=, which distributions build out.
func virtioMMIO(i int, d VirtioMMIO) []byte {
	return device(fmt.Sprintf("V%03X", i),
		name("_HID", str("LNRO0005")),
		name("_UID", integer(uint64(i))),
		name("_CCA", integer(1)), // its accesses are coherent with the CPUs' caches
		name("_CRS", resources(memory32(uint32(d.Registers.Base), uint32(d.Registers.Size)), interrupt(d.Interrupt))),
	)
}

func serial(i int, s Serial) []byte {
	const registers = 8
	return device(fmt.Sprintf("COM%X", i+1),
		name("_HID", eisaID("PNP0501")),
		name("_UID", integer(uint64(i)+1)),
		name("_CRS", resources(ioPorts(s.Port, registers), interrupt(s.Interrupt))),
	)
}

func rtc(r *RTC) []byte {
	const indexAndData = 2
	items := [][]byte{ioPorts(r.Port, indexAndData)}
	if r.Interrupt != nil {
		items = append(items, interrupt(*r.Interrupt))
	}
	return device("RTC0", name("_HID", eisaID("PNP0B00")), name("_CRS", resources(items...)))
}

// pciConfigPorts are the address and data ports of configuration mechanism 1: the bridge's own, not its bus's.
const (
	pciConfigPort  = 0xcf8
	pciConfigPorts = 8
)

func pciRoot(p *PCI) []byte {
	windows := [][]byte{busNumbers(p.LastBus), ioPorts(pciConfigPort, pciConfigPorts)}
	for _, w := range p.IO {
		windows = append(windows, ioWindow(w))
	}
	for _, w := range p.Memory {
		windows = append(windows, memoryWindow(w))
	}
	return device("PCI0",
		name("_HID", eisaID("PNP0A08")), // PCI Express
		name("_CID", eisaID("PNP0A03")), // or, to a guest that doesn't know it, PCI
		name("_UID", integer(0)),
		name("_SEG", integer(0)),
		name("_BBN", integer(0)),
		name("_CRS", resources(windows...)),
		name("_PRT", interruptRouting(p)),
		oscMethod(),
	)
}

// interruptRouting is _PRT (6.2.13): for each device of bus 0 and each of its pins, the GSI that it is wired to. Pins
// are swizzled, so that the first pins of neighbours, which is all that most devices use, don't share a line.
func interruptRouting(p *PCI) []byte {
	const devices, pins, anyFunction = 32, 4, 0xffff
	var entries [][]byte
	for d := range uint64(devices) {
		for pin := range uint64(pins) {
			gsi := p.INTx[(d+pin)%pins]
			// A source of 0 says that the last element is the GSI itself, not a link device's index.
			entries = append(entries, pkg(integer(d<<16|anyFunction), integer(pin), integer(0), integer(uint64(gsi))))
		}
	}
	return pkg(entries...)
}

// oscMethod is _OSC (6.2.11), by which the guest asks to take over features of PCI Express from firmware. There is no
// firmware that would want to keep any: what it asks for is granted by returning the buffer as it is. A PCI Express
// root has to have the method; without it Linux logs a failure and turns ASPM off.
func oscMethod() []byte {
	const unrecognizedUUID = 1 << 2
	pciRootUUID := uuid(0x33db4d5b, 0x1ff7, 0x401c, [8]byte{0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66})
	const capabilities = 3 // the argument with the buffer of double words, the first of them for errors
	return method("_OSC", 4,
		ifTerm(op(opLogicalEqual, arg(0), pciRootUUID), op(opReturn, arg(capabilities))),
		op(opCreateDWord, arg(capabilities), integer(0), nameString("CDW1")),
		op(opOr, nameString("CDW1"), integer(unrecognizedUUID), nameString("CDW1")),
		op(opReturn, arg(capabilities)),
	)
}

// pciReserved claims the ECAM for the motherboard. Linux uses a window from the MCFG only if something else says that
// the addresses are taken (arch/x86/pci/mmconfig-shared.c), so that a wrong MCFG does no harm.
func pciReserved(p *PCI) []byte {
	return device("MBRD",
		name("_HID", eisaID("PNP0C02")),
		name("_UID", integer(0)),
		name("_CRS", resources(memory32(uint32(p.ECAM), uint32(p.ecamSize())))),
	)
}
