package main

import (
	"time"

	"tandem/kvm"
)

var stops = []stop{
	{
		reason: "IO",
		what:   "out 0x10, al",
		code: []byte{
			0xb0, 'A', // mov al, 'A'
			0xe6, 0x10, // out 0x10, al
		},
	},
	{
		reason: "IO",
		what:   "in al, 0x10: the answer goes into the guest with the next KVM_RUN",
		code: []byte{
			0xe4, 0x10, // in al, 0x10
			0xf4, // hlt
		},
		answer: func(m *machine, exit kvm.Exit) error {
			exit.(*kvm.IO).Data[0] = 0x5a
			return m.showRAX()
		},
	},
	{
		reason: "IO",
		what:   "rep insb: several accesses in one exit",
		code: []byte{
			0xbf, 0x00, 0x70, // mov di, 0x7000
			0xb9, 0x04, 0x00, // mov cx, 4
			0xba, 0x10, 0x00, // mov dx, 0x10
			0xf3, 0x6c, // rep insb
			0x66, 0xa1, 0x00, 0x70, // mov eax, [0x7000]
			0xf4, // hlt
		},
		answer: func(m *machine, exit kvm.Exit) error {
			copy(exit.(*kvm.IO).Data, []byte{0x01, 0x02, 0x03, 0x04})
			return m.showRAX()
		},
	},
	{
		reason: "MMIO",
		what:   "mov word [0x90004], 0x1234, where no memory is",
		code: []byte{
			0xb8, 0x00, 0x90, // mov ax, 0x9000
			0x8e, 0xd8, // mov ds, ax
			0xc7, 0x06, 0x04, 0x00, 0x34, 0x12, // mov word [4], 0x1234
		},
	},
	{
		reason: "MMIO",
		what:   "mov eax, [0x90008]",
		code: []byte{
			0xb8, 0x00, 0x90, // mov ax, 0x9000
			0x8e, 0xd8, // mov ds, ax
			0x66, 0xa1, 0x08, 0x00, // mov eax, [8]
			0xf4, // hlt
		},
		answer: func(m *machine, exit kvm.Exit) error {
			copy(exit.(*kvm.MMIO).Data, []byte{0x78, 0x56, 0x34, 0x12})
			return m.showRAX()
		},
	},
	{
		reason: "HLT",
		what:   "hlt, without in-kernel irqchip; with one the kernel waits for the interrupt itself",
		code:   []byte{0xf4},
	},
	{
		reason: "IRQ_WINDOW_OPEN",
		what:   "sti, with an interrupt to come from the monitor's own interrupt controller",
		code: []byte{
			0xfb,       // sti
			0x90,       // nop
			0xeb, 0xfe, // jmp to itself
		},
		before: func(m *machine) error { return m.cpu.RequestInterruptWindow(true) },
	},
	{
		reason:    "IOAPIC_EOI",
		what:      "the end of a level-triggered interrupt, with the IOAPIC in the monitor",
		mode:      protectedMode,
		code:      []byte{0xfb, 0xf4, 0xeb, 0xfd}, // sti; hlt; jmp to hlt
		needs:     kvm.CapSplitIRQChip,
		beforeCPU: func(m *machine) error { return m.vm.CreateSplitIRQChip(24) },
		before:    (*machine).raiseLevelInterrupt,
	},
	{
		reason: "DEBUG",
		what:   "any instruction, while the monitor steps through them",
		code:   []byte{0x90}, // nop
		before: func(m *machine) error {
			return m.cpu.SetGuestDebug(kvm.GuestDebug{Control: kvm.DebugEnable | kvm.DebugSingleStep})
		},
	},
	{
		reason: "X86_RDMSR",
		what:   "rdmsr of one that does not exist, when the monitor wants to know",
		code: []byte{
			0x66, 0xb9, 0x00, 0x00, 0xad, 0xde, // mov ecx, 0xdead0000
			0x0f, 0x32, // rdmsr
			0xf4, // hlt
		},
		needs:     kvm.CapX86UserSpaceMSR,
		beforeCPU: passOnUnknownMSRs,
		answer: func(m *machine, exit kvm.Exit) error {
			if err := m.cpu.CompleteMSR(0x77, false); err != nil {
				return err
			}
			return m.showRAX()
		},
	},
	{
		reason: "X86_WRMSR",
		what:   "wrmsr of one that does not exist",
		code: []byte{
			0x66, 0xb9, 0x00, 0x00, 0xad, 0xde, // mov ecx, 0xdead0000
			0x0f, 0x30, // wrmsr
		},
		needs:     kvm.CapX86UserSpaceMSR,
		beforeCPU: passOnUnknownMSRs,
		before: func(m *machine) error {
			return m.cpu.SetRegs(kvm.Regs{RIP: codeAt, RFLAGS: 2, RAX: 0x42})
		},
	},
	{
		reason: "HYPERCALL",
		what:   "hypercall 12, KVM_HC_MAP_GPA_RANGE: the guest shares or hides memory",
		code: []byte{
			0x66, 0xb8, 0x0c, 0x00, 0x00, 0x00, // mov eax, 12
			0x66, 0xbb, 0x00, 0x00, 0x01, 0x00, // mov ebx, 0x10000: from here
			0x66, 0xb9, 0x01, 0x00, 0x00, 0x00, // mov ecx, 1: so many pages
			0x66, 0x31, 0xd2, // xor edx, edx
			0x0f, 0x01, 0xc1, // vmcall; see hypercallOfThisCPU
			0xf4, // hlt
		},
		needs: kvm.CapExitHypercall,
		beforeCPU: func(m *machine) error {
			const mapGPARange = 12
			return m.vm.EnableCap(kvm.CapExitHypercall, 1<<mapGPARange)
		},
		before:  (*machine).hypercallOfThisCPU,
		instead: "a #UD: this KVM has no hardware to which the instruction means something",
		answer:  func(m *machine, exit kvm.Exit) error { return m.cpu.CompleteHypercall(0) },
	},
	{
		reason: "DIRTY_RING_FULL",
		what:   "a write to one page after the other, until the ring of dirty pages is full",
		mode:   protectedMode,
		code: []byte{
			0xbf, 0x00, 0x00, 0x80, 0x00, //       mov edi, loggedSize
			0xc6, 0x07, 0x01, //             next: mov byte [edi], 1
			0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, // add edi, 0x1000
			0xeb, 0xf5, //                         jmp next
		},
		needs: kvm.CapDirtyLogRing,
		beforeCPU: func(m *machine) error {
			const ringBytes = 1024 * 16 // entries of struct kvm_dirty_gfn
			if err := m.vm.EnableCap(kvm.CapDirtyLogRing, ringBytes); err != nil {
				return err
			}
			return m.addLoggedMemory(loggedSize)
		},
	},
	{
		reason: "INTR",
		what:   "jmp to itself, and a kick from outside",
		code:   []byte{0xeb, 0xfe},
		before: func(m *machine) error {
			if err := m.cpu.Bind(); err != nil { // so that Kick finds the thread
				return err
			}
			time.AfterFunc(10*time.Millisecond, func() { _ = m.cpu.Kick() })
			return nil
		},
	},
	{
		reason: "SYSTEM_EVENT",
		what:   "wrmsr HV_X64_MSR_RESET, as Hyper-V's guests reset the machine",
		code: []byte{
			0x66, 0xb9, 0x03, 0x00, 0x00, 0x40, // mov ecx, 0x40000003
			0x66, 0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
			0x66, 0x31, 0xd2, // xor edx, edx
			0x0f, 0x30, // wrmsr
		},
		needs:  kvm.CapHyperV,
		before: (*machine).looksLikeHyperV,
	},
	{
		reason: "INTERNAL_ERROR",
		what:   "a jump to where no memory is: KVM has no instruction to emulate",
		mode:   protectedMode,
		code: []byte{
			0xb8, 0x00, 0x00, 0x09, 0x00, // mov eax, outside
			0xff, 0xe0, // jmp eax
		},
	},
	{
		reason:  "FAIL_ENTRY",
		what:    "nothing: CS is for 64 and for 32 bits at once, and the CPU refuses to enter",
		mode:    protectedMode,
		code:    []byte{0xf4},
		before:  (*machine).enterLongModeBadly,
		instead: "the guest ran: this KVM has no hardware that checks its state",
	},
	{
		reason: "SHUTDOWN",
		what:   "ud2, with an empty IDT: a triple fault",
		mode:   protectedMode,
		code:   []byte{0x0f, 0x0b},
		before: func(m *machine) error {
			sregs, err := m.cpu.Sregs()
			if err != nil {
				return err
			}
			sregs.IDT.Limit = 0
			return m.cpu.SetSregs(sregs)
		},
	},
}

// leftOut are the exits that KVM on x86 has beyond these.
var leftOut = []struct{ reason, why string }{
	{"UNKNOWN", "the CPU gave a reason that KVM does not know; no guest can make it do so"},
	{"EXCEPTION", "an exception that VMX was told to exit for and does not know what to do with; KVM asks for none such"},
	{"SET_TPR, TPR_ACCESS", "for a local APIC in the monitor, and for 32-bit Windows on old VMX"},
	{"NMI", "for the host's own NMIs; the kernel handles them itself today"},
	{"HYPERV, XEN", "a guest that speaks another hypervisor's interface, all of it"},
	{"X86_BUS_LOCK, NOTIFY", "Intel CPUs of 2021 and later can exit for a bus lock, or when no interrupt window comes"},
	{"MEMORY_FAULT", "memory of confidential guests, that has the wrong kind; Linux 6.8"},
}
