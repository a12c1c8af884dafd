package kvm_test

import (
	"testing"

	"tandem/kvm"
)

// msrExitUnknown has KVM pass on accesses to MSRs that it does not know.
const msrExitUnknown = 1 << 1

func TestMSRAccessExits(t *testing.T) {
	g := newGuest(t, []byte{
		0x66, 0xb9, 0x00, 0x00, 0xad, 0xde, // mov ecx, 0xdead0000
		0x0f, 0x32, // rdmsr
		0x66, 0x40, // inc eax
		0x0f, 0x30, // wrmsr
		0xf4, // hlt
	}, func(t testing.TB, vm *kvm.VM) { must(t, vm.EnableCap(kvm.CapX86UserSpaceMSR, msrExitUnknown)) })
	r := run[*kvm.MSRAccess](t, g.cpu)
	if r.Write || r.Index != msrNone || r.Why != msrExitUnknown || r.Reason() != kvm.ReasonX86RDMSR {
		t.Errorf("exit %v, why %d, want a read of an unknown MSR", r, r.Why)
	}
	must(t, g.cpu.CompleteMSR(0x1_0000_0041, false))
	w := run[*kvm.MSRAccess](t, g.cpu)
	if !w.Write || w.Data != 0x1_0000_0042 || w.Reason() != kvm.ReasonX86WRMSR {
		t.Errorf("exit %v, want a write of 0x100000042", w)
	}
	must(t, g.cpu.CompleteMSR(0, false))
	run[*kvm.HLT](t, g.cpu)
}

// TestSystemEvent resets the machine the way Hyper-V's guests do, which is
// the one way to a SYSTEM_EVENT on x86. A KVM built without Hyper-V's
// interfaces does not know the MSR, and the guest gets a #GP.
func TestSystemEvent(t *testing.T) {
	g := newGuest(t, []byte{
		0x66, 0xb9, 0x03, 0x00, 0x00, 0x40, // mov ecx, 0x40000003: HV_X64_MSR_RESET
		0x66, 0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
		0x66, 0x31, 0xd2, // xor edx, edx
		0x0f, 0x30, // wrmsr
	})
	features, err := g.sys.SupportedCPUID()
	must(t, err)
	const signature = 0x31237648 // "Hv#1"
	kvm.FindCPUID(features, 0x4000_0000, 0).Eax = 0x4000_0001
	kvm.FindCPUID(features, 0x4000_0001, 0).Eax = signature
	must(t, g.cpu.SetCPUID(features))
	hyperV, err := g.vm.Check(kvm.CapHyperV)
	must(t, err)
	if hyperV == 0 {
		run[*kvm.HLT](t, g.cpu)
		if regs, err := g.cpu.Regs(); err != nil || regs.RIP != faultAt+1 {
			t.Errorf("halted at %#x, %v, want the exception handler's %#x", regs.RIP, err, faultAt+1)
		}
		return
	}
	if e := run[*kvm.SystemEvent](t, g.cpu); e.Type != kvm.SystemEventReset {
		t.Errorf("exit %v, want a reset", e)
	}
}
