package kvm

import "fmt"

// CreateIRQChip makes the in-kernel interrupt controllers: two PICs, an
// IOAPIC with GSIs 0-23, and a local APIC in each vCPU made afterwards.
func (vm *VM) CreateIRQChip() error {
	if _, err := ioctlValue(vm.descriptor, reqCreateIRQChip, 0); err != nil {
		return &Error{Op: opCreateIRQChip, Err: vm.because(err, CapIRQChip)}
	}
	return nil
}

// CreateSplitIRQChip leaves only the local APICs in the kernel
// (CapSplitIRQChip): PIC and IOAPIC are the monitor's, which reports the
// IOAPIC's pins as MSI routes to GSIs 0 to pins-1 and gets an IOAPIC_EOI exit
// for each end of interrupt of a level one.
func (vm *VM) CreateSplitIRQChip(pins int) error {
	return vm.EnableCap(CapSplitIRQChip, uint64(pins))
}

// pitConfig is struct kvm_pit_config.
type pitConfig struct {
	Flags uint32
	_     [15]uint32
}

const pitSpeakerDummy = 1 << 0

func (c pitConfig) String() string { return fmt.Sprintf("flags %#x", c.Flags) }

// CreatePIT makes the in-kernel i8254 timer, on GSI 0. speakerPort also has
// the kernel serve port 0x61 as a dummy; without it the port exits.
func (vm *VM) CreatePIT(speakerPort bool) error {
	var c pitConfig
	if speakerPort {
		c.Flags = pitSpeakerDummy
	}
	if _, err := ioctl(vm.descriptor, reqCreatePIT2, &c); err != nil {
		return &Error{Op: opCreatePIT, Err: vm.because(err, CapPIT2)}
	}
	return nil
}

// PIT reads the timer's state.
func (vm *VM) PIT() (PITState, error) {
	var s PITState
	if _, err := ioctl(vm.descriptor, reqGetPIT2, &s); err != nil {
		return s, &Error{Op: opGetPIT, Err: vm.because(err, CapPITState2)}
	}
	return s, nil
}

// SetPIT sets the timer's state.
func (vm *VM) SetPIT(s PITState) error {
	if _, err := ioctl(vm.descriptor, reqSetPIT2, &s); err != nil {
		return &Error{Op: opSetPIT, Err: vm.because(err, CapPITState2)}
	}
	return nil
}

// IRQChip reads the state of ChipPICMaster, ChipPICSlave or ChipIOAPIC.
func (vm *VM) IRQChip(chip uint32) (IRQChip, error) {
	c := IRQChip{ChipID: chip}
	if _, err := ioctl(vm.descriptor, reqGetIRQChip, &c); err != nil {
		return c, &Error{Op: opGetIRQChip, Object: itoa(uint64(chip)), Err: err}
	}
	return c, nil
}

// SetIRQChip sets the state of the chip that c.ChipID names.
func (vm *VM) SetIRQChip(c IRQChip) error {
	if _, err := ioctl(vm.descriptor, reqSetIRQChip, &c); err != nil {
		return &Error{Op: opSetIRQChip, Object: itoa(uint64(c.ChipID)), Err: err}
	}
	return nil
}

// LAPIC reads the vCPU's local APIC registers.
func (v *VCPU) LAPIC() (LAPIC, error) {
	var l LAPIC
	if _, err := ioctl(v.descriptor, reqGetLAPIC, &l); err != nil {
		return l, &Error{Op: opGetLAPIC, Object: v.object, Err: err}
	}
	return l, nil
}

// SetLAPIC sets the vCPU's local APIC registers.
func (v *VCPU) SetLAPIC(l LAPIC) error {
	if _, err := ioctl(v.descriptor, reqSetLAPIC, &l); err != nil {
		return &Error{Op: opSetLAPIC, Object: v.object, Err: err}
	}
	return nil
}
