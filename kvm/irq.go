package kvm

import "fmt"

// irqLevel is struct kvm_irq_level.
type irqLevel struct {
	IRQ   uint32 // on return from KVM_IRQ_LINE_STATUS: the status
	Level uint32
}

func (l irqLevel) String() string { return fmt.Sprintf("irq %d level %d", int32(l.IRQ), l.Level) }

// SetIRQLine sets the level of a GSI's line. A level-triggered interrupt
// stays pending until it is set back to false; for an edge-triggered one set
// true, then false.
func (vm *VM) SetIRQLine(gsi uint32, level bool) error {
	l := irqLevel{IRQ: gsi}
	if level {
		l.Level = 1
	}
	if _, err := ioctl(vm.descriptor, reqIRQLine, &l); err != nil {
		return &Error{Op: opIRQLine, Object: fmt.Sprintf("gsi %d", gsi), Err: err}
	}
	return nil
}

// SetIRQLineStatus is SetIRQLine that also tells what came of it: below 0 the
// interrupt was ignored (masked), 0 coalesced with one still pending, above 0
// delivered to so many vCPUs (CapIRQInjectStatus).
func (vm *VM) SetIRQLineStatus(gsi uint32, level bool) (int, error) {
	l := irqLevel{IRQ: gsi}
	if level {
		l.Level = 1
	}
	if _, err := ioctl(vm.descriptor, reqIRQLineStatus, &l); err != nil {
		return 0, &Error{Op: opIRQLine, Object: fmt.Sprintf("gsi %d", gsi), Err: vm.because(err, CapIRQInjectStatus)}
	}
	return int(int32(l.IRQ)), nil
}

// MSI is a message signalled interrupt: the 32-bit Data that a device would
// write to Address. On x86 the address names the local APIC (0xFEE.....) and
// the data the vector.
type MSI struct {
	Address uint64
	Data    uint32
}

func (m MSI) String() string { return fmt.Sprintf("msi %#x data %#x", m.Address, m.Data) }

// msi is struct kvm_msi.
type msi struct {
	AddressLo uint32
	AddressHi uint32
	Data      uint32
	Flags     uint32
	DevID     uint32
	_         [12]uint8
}

func (m msi) String() string {
	return MSI{Address: uint64(m.AddressHi)<<32 | uint64(m.AddressLo), Data: m.Data}.String()
}

// SignalMSI delivers a message now, without a route. It tells to how many
// vCPUs it went; 0 means that the guest blocked it.
func (vm *VM) SignalMSI(m MSI) (int, error) {
	k := msi{AddressLo: uint32(m.Address), AddressHi: uint32(m.Address >> 32), Data: m.Data}
	n, err := ioctl(vm.descriptor, reqSignalMSI, &k)
	if err != nil {
		return 0, &Error{Op: opSignalMSI, Object: m.String(), Err: vm.because(err, CapSignalMSI)}
	}
	return n, nil
}
