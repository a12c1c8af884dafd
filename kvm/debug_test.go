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

// TestSoftwareBreakpoint needs a KVM that intercepts #BP. One that interprets
// kernel mode hands INT3 to the guest, whatever it was asked.
func TestSoftwareBreakpoint(t *testing.T) {
	testenv.Need(t, testenv.KVMLinux)
	g := newGuest(t, []byte{
		0x90, // nop
		0xcc, // int3
	})
	must(t, g.cpu.SetGuestDebug(kvm.GuestDebug{Control: kvm.DebugEnable | kvm.DebugUseSWBP}))
	if e := run[*kvm.Debug](t, g.cpu); e.PC != codeAt+1 || e.Exception != 3 {
		t.Errorf("exit %v, want #BP at %#x", e, codeAt+1)
	}
}

func TestHardwareBreakpoint(t *testing.T) {
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
