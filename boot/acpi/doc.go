// Package acpi builds the ACPI tables that describe the machine to its guest.
//
// A PC's processor can ask the PCI bus who is there. Nobody answers for the rest: how many processors wait to be
// started, which pin of the interrupt controller a serial port pulls, where PCI's own configuration space is, how to
// turn the machine off. A PC's firmware leaves that in memory as tables, each with a signature, a length and a checksum,
// and the guest follows addresses from the root pointer on:
//
//	boot_params.acpi_rsdp_addr, hvm_start_info.rsdp_paddr, or a search of 0xE0000-0xFFFFF
//	  │
//	  ▼
//	RSDP ──► XSDT ─┬─► FADT (FACP)   what the machine has in fixed places: sleep and reset ports
//	               │     └──► DSDT   everything else: a tree of devices, as a program in byte code
//	               ├─► MADT (APIC)   processors and interrupt controllers
//	               └─► MCFG          PCI configuration space in memory (ECAM)
//
// # Hardware-reduced
//
// ACPI began as an interface to a particular set of chips: power management registers, a timer, an interrupt of its
// own (SCI). A machine without them says so by the hardware-reduced flag of its FADT (ACPI 6.5, 4.1). Then soft off is
// one byte to the sleep control register, SLP_EN and the SLP_TYP that the object \_S5 in the DSDT tells, and reset is
// one byte to the reset register: three ports to emulate. Linux in turn doesn't touch the 8259s or the PIT on such a
// machine: it takes its time from the local APIC and its interrupts through the IOAPIC alone. Two things follow. The
// guest must be told how fast its clocks are (KVM's clock does, or CPUID leaf 0x15), as without the PIT there is nothing
// to measure them against. And 8259s that are there all the same are never programmed, so none of their interrupts must
// get through: Linux since 5.4 masks LINT0, by which they come, when it sets up the local APIC.
//
// # Byte code
//
// The DSDT is AML, what a compiler makes of ASL. It is built here term by term, by functions that are named like ASL's
// (aml.go, resource.go), as it depends on the devices that a machine has been given:
//
//   - virtio-mmio devices have the _HID LNRO0005, their registers and their interrupt;
//   - the PCI root (PNP0A08) has the windows that its bus may use, the wiring of the INTx pins, and _OSC; a second
//     device, PNP0C02, reserves the ECAM, without which Linux won't believe the MCFG;
//   - serial ports (PNP0501) and the clock (PNP0B00) have ports and interrupts. Interrupts are always the extended kind
//     of descriptor: on a hardware-reduced machine the old kind, 16 ISA numbers, stands for nothing.
//
// There is no keyboard controller (PNP0303), and the FADT says that there is none. A monitor may still have a bit of
// one at port 0x64, as a second way to reset; told of it, Linux would look for a keyboard and a mouse, and wait for
// each. There are no processor devices (ACPI0007): the MADT is enough where processors neither come nor go.
//
// All addresses come in a Spec. Tests let iasl, ACPICA's compiler, read the tables back and compile them again.
package acpi
