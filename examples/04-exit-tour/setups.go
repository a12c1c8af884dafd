package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"tandem/kvm"
)

// loggedSize is the size of the slot whose dirty pages go to the ring, and the
// address where it begins.
const loggedSize = 8 << 20

// showRAX lets the guest go on to its HLT, and shows what it got.
func (m *machine) showRAX() error {
	for {
		exit, err := m.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return err
		}
		if exit.Reason() != kvm.ReasonHLT {
			return fmt.Errorf("the guest made another exit: %v", exit)
		}
		regs, err := m.cpu.Regs()
		if err != nil {
			return err
		}
		fmt.Printf("  answered: the guest has rax %#x\n", regs.RAX)
		return nil
	}
}

func passOnUnknownMSRs(m *machine) error {
	const unknown = 1 << 1 // KVM_MSR_EXIT_REASON_UNKNOWN
	return m.vm.EnableCap(kvm.CapX86UserSpaceMSR, unknown)
}

// raiseLevelInterrupt routes pin 5 to a vector as the monitor's IOAPIC would,
// raises it, and has the guest's handler acknowledge it at the local APIC.
func (m *machine) raiseLevelInterrupt() error {
	const (
		pin, vector   = 5, 0x41
		assert, level = 1 << 14, 1 << 15
	)
	copy(m.memory[handlerAt:], []byte{
		0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0, // mov dword [0xfee000b0], 0: EOI
		0xeb, 0xfe, // jmp to itself
	})
	lapic, err := m.cpu.LAPIC()
	if err != nil {
		return err
	}
	const spuriousVector, enabled = 0xf0, 1 << 8
	binary.LittleEndian.PutUint32(lapic.Regs[spuriousVector:], enabled|0xff)
	if err := m.cpu.SetLAPIC(lapic); err != nil {
		return err
	}
	message := kvm.MSI{Address: 0xfee0_0000, Data: vector | assert | level}
	if err := m.vm.SetGSIRouting([]kvm.Route{kvm.RouteMSI(pin, message)}); err != nil {
		return err
	}
	return m.vm.SetIRQLine(pin, true)
}

// looksLikeHyperV has the guest's CPUID carry Hyper-V's signature: only then
// does KVM listen to Hyper-V's MSRs.
func (m *machine) looksLikeHyperV() error {
	return m.giveCPUID(func(leaves []kvm.CPUIDEntry) {
		if l := kvm.FindCPUID(leaves, 0x4000_0000, 0); l != nil {
			l.Eax = 0x4000_0001 // the last of the hypervisor's leaves
		}
		if l := kvm.FindCPUID(leaves, 0x4000_0001, 0); l != nil {
			l.Eax = 0x3123_7648 // "Hv#1"
		}
	})
}

// hypercallOfThisCPU makes the guest's VMCALL a VMMCALL on AMD's CPUs. KVM
// would put the right one into the guest's memory when it meets the other, a
// quirk that is turned off here: a KVM that interprets would do so forever.
func (m *machine) hypercallOfThisCPU() error {
	const fixHypercallInsn = 1 << 5 // KVM_X86_QUIRK_FIX_HYPERCALL_INSN
	if err := m.vm.EnableCap(kvm.CapDisableQuirks2, fixHypercallInsn); err != nil {
		return err
	}
	return m.giveCPUID(func(leaves []kvm.CPUIDEntry) {
		const amd = 0x6874_7541 // "Auth", of "AuthenticAMD"
		if l := kvm.FindCPUID(leaves, 0, 0); l == nil || l.Ebx != amd {
			return
		}
		vmcall, vmmcall := []byte{0x0f, 0x01, 0xc1}, []byte{0x0f, 0x01, 0xd9}
		if at := bytes.Index(m.memory, vmcall); at >= 0 {
			copy(m.memory[at:], vmmcall)
		}
	})
}
