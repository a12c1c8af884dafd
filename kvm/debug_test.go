package kvm_test

import (
	"testing"

	"tandem/internal/testenv"
	"tandem/kvm"
)

func TestSingleStep(t *testing.T) {
	g := newGuest(t, []byte{
		0xb0, 0x01, // mov al, 1
		0xb3, 0x02, // mov bl, 2
		0x90, // nop
		0xf4, // hlt
	})
	must(t, g.cpu.SetGuestDebug(kvm.GuestDebug{Control: kvm.DebugEnable | kvm.DebugSingleStep}))
	for _, pc := range []uint64{codeAt + 2, codeAt + 4, codeAt + 5} {
		if e := run[*kvm.Debug](t, g.cpu); e.PC != pc || e.Exception != 1 {
			t.Fatalf("exit %v, want #DB at %#x", e, pc)
		}
	}
	must(t, g.cpu.SetGuestDebug(kvm.GuestDebug{}))
	run[*kvm.HLT](t, g.cpu)
}

// TestSoftwareBreakpoint knows two good ends. KVM on hardware intercepts #BP
// and makes an exit of it. A KVM that interprets, and one inside of QEMU's TCG,
// which does not intercept INT3, hand it to the guest, whose handler halts.
func TestSoftwareBreakpoint(t *testing.T) {
	g := newGuest(t, []byte{
		0x90, // nop
		0xcc, // int3
	})
	must(t, g.cpu.SetGuestDebug(kvm.GuestDebug{Control: kvm.DebugEnable | kvm.DebugUseSWBP}))
	switch e := run[kvm.Exit](t, g.cpu).(type) {
	case *kvm.Debug:
		if e.PC != codeAt+1 || e.Exception != 3 {
			t.Errorf("exit %v, want #BP at %#x", e, codeAt+1)
		}
	case *kvm.HLT:
		if regs, err := g.cpu.Regs(); err != nil || regs.RIP != faultAt+1 {
			t.Errorf("halted at %#x, %v, want the guest's handler at %#x", regs.RIP, err, faultAt)
		}
	default:
		t.Errorf("exit %v, want #BP at %#x", e, codeAt+1)
	}
}

// TestHardwareBreakpoint is not for the lab: TCG does not watch the debug
// registers of a guest within its guest.
func TestHardwareBreakpoint(t *testing.T) {
	testenv.Need(t, testenv.NotLab)
	g := newGuest(t, []byte{
		0x90, // nop
		0x90, // nop
		0x90, // nop
		0xf4, // hlt
	})
	const enableDR0 = 1<<1 | 1<<10 // global, execution, one byte; bit 10 is always set
	must(t, g.cpu.SetGuestDebug(kvm.GuestDebug{
		Control:  kvm.DebugEnable | kvm.DebugUseHWBP,
		DebugReg: [8]uint64{0: codeAt + 2, 7: enableDR0},
	}))
	if e := run[*kvm.Debug](t, g.cpu); e.PC != codeAt+2 || e.DR6&1 == 0 {
		t.Errorf("exit %v, want one at %#x by DR0", e, codeAt+2)
	}
}
