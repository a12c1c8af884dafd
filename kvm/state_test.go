package kvm_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/kvm"
)

const (
	msrTSC      = 0x10
	msrSysEnter = 0x174
	msrLSTAR    = 0xc000_0082
	msrNone     = 0xdead_0000
)

func TestRegistersRoundTrip(t *testing.T) {
	g := newGuest(t, nil, withIRQChip)
	want := kvm.Regs{
		RAX: 1, RBX: 2, RCX: 3, RDX: 4, RSI: 5, RDI: 6, RSP: 7, RBP: 8, R8: 9, R9: 10, R10: 11, R11: 12,
		R12: 13, R13: 14, R14: 15, R15: 16, RIP: 0x1234_5678_9abc, RFLAGS: 0x246,
	}
	must(t, g.cpu.SetRegs(want))
	got, err := g.cpu.Regs()
	must(t, err)
	if got != want {
		t.Errorf("Regs = %+v, want %+v", got, want)
	}

	g.longMode(t)
	s1, err := g.cpu.Sregs()
	must(t, err)
	if s1.CR3 != pml4At || s1.CS.L != 1 || s1.CS.Selector != 8 {
		t.Errorf("Sregs: cr3 %#x cs %+v", s1.CR3, s1.CS)
	}
	s2, err := g.cpu.Sregs2()
	must(t, err)
	if s2.CR3 != s1.CR3 || s2.CS != s1.CS || s2.EFER != s1.EFER {
		t.Errorf("Sregs2 %+v differs from Sregs %+v", s2, s1)
	}
	s2.CR2 = 0x1234_5000
	must(t, g.cpu.SetSregs2(s2))
	if s1, err = g.cpu.Sregs(); err != nil || s1.CR2 != 0x1234_5000 {
		t.Errorf("cr2 = %#x, %v", s1.CR2, err)
	}

	d := kvm.DebugRegs{DB: [4]uint64{0x1000, 0x2000, 0x3000, 0x4000}, DR6: 0xffff_0ff0, DR7: 0x400}
	must(t, g.cpu.SetDebugRegs(d))
	if got, err := g.cpu.DebugRegs(); err != nil || got != d {
		t.Errorf("DebugRegs = %+v, %v, want %+v", got, err, d)
	}
}

func TestFloatingPointStateRoundTrips(t *testing.T) {
	g := newGuest(t, nil)
	features, err := g.sys.SupportedCPUID()
	must(t, err)
	must(t, g.cpu.SetCPUID(features))

	f, err := g.cpu.FPU()
	must(t, err)
	f.FCW, f.XMM[3] = 0x37f, [16]uint8{1, 2, 3}
	must(t, g.cpu.SetFPU(f))
	if got, err := g.cpu.FPU(); err != nil || got != f {
		t.Errorf("FPU = %+v, %v, want %+v", got, err, f)
	}

	x, err := g.cpu.XSave()
	must(t, err)
	size, err := g.vm.XSaveSize()
	must(t, err)
	if len(x) != size || size < 4096 {
		t.Fatalf("XSave has %d bytes, XSaveSize says %d", len(x), size)
	}
	// Intel SDM volume 1, 13.4: XMM3 in the legacy area, and XSTATE_BV, which
	// says that the SSE part is not in its initial state.
	const xmm3, xstateBV, sse = 160 + 3*16, 512, 1 << 1
	x[xmm3] = 9
	x[xstateBV] |= sse
	must(t, g.cpu.SetXSave(x))
	back, err := g.cpu.XSave()
	must(t, err)
	if back[xmm3] != 9 || back[xstateBV]&sse == 0 {
		t.Errorf("XMM3 = %d, XSTATE_BV = %#x after SetXSave", back[xmm3], back[xstateBV])
	}
	if err := g.cpu.SetXSave(x[:100]); err == nil {
		t.Error("SetXSave took 100 bytes")
	}

	xcrs, err := g.cpu.XCRS()
	must(t, err)
	if xcrs.NrXRCS < 1 || xcrs.Registers[0].Value&1 != 1 {
		t.Errorf("XCRS = %+v, want XCR0 with x87", xcrs)
	}
	must(t, g.cpu.SetXCRS(xcrs))
}

func TestCPUID(t *testing.T) {
	g := newGuest(t, []byte{
		0x66, 0xb8, 0x00, 0x00, 0x00, 0x40, // mov eax, 0x40000000
		0x0f, 0xa2, // cpuid
		0xf4, // hlt
	})
	features, err := g.sys.SupportedCPUID()
	must(t, err)
	if basic := kvm.FindCPUID(features, 0, 0); basic == nil || basic.Eax < 1 {
		t.Fatalf("leaf 0 is %v in %d leaves", basic, len(features))
	}
	leaf := kvm.FindCPUID(features, 0x4000_0000, 0)
	if leaf == nil {
		t.Fatal("KVM does not offer its own leaf 0x40000000")
	}
	leaf.Ebx = 0x12345678
	if none, err := g.cpu.CPUID(); err != nil || len(none) != 0 {
		t.Errorf("CPUID before SetCPUID gives %d leaves, %v", len(none), err)
	}
	must(t, g.cpu.SetCPUID(features))
	back, err := g.cpu.CPUID()
	must(t, err)
	if len(back) != len(features) {
		t.Errorf("CPUID gives back %d leaves of %d", len(back), len(features))
	}
	run[*kvm.HLT](t, g.cpu)
	regs, err := g.cpu.Regs()
	must(t, err)
	if regs.RBX != 0x12345678 {
		t.Errorf("the guest's cpuid gives ebx %#x, want 0x12345678", regs.RBX)
	}
	if _, err := g.sys.EmulatedCPUID(); err != nil {
		t.Errorf("EmulatedCPUID: %v", err)
	}
}

func TestMSRs(t *testing.T) {
	g := newGuest(t, nil)
	list, err := g.sys.MSRIndexList()
	must(t, err)
	found := false
	for _, index := range list {
		found = found || index == msrLSTAR
	}
	if !found {
		t.Errorf("no LSTAR in %#x", list)
	}
	must(t, g.cpu.SetMSR(msrLSTAR, 0x1234_5000))
	if v, err := g.cpu.MSR(msrLSTAR); err != nil || v != 0x1234_5000 {
		t.Errorf("LSTAR = %#x, %v", v, err)
	}
}

func TestRefusedMSRIsNamed(t *testing.T) {
	g := newGuest(t, nil)
	entries := []kvm.MSREntry{{Index: msrLSTAR, Data: 0x5000}, {Index: msrNone}, {Index: msrSysEnter, Data: 0x10}}
	check := func(what string, err error) {
		t.Helper()
		var refused *kvm.MSRError
		if !errors.As(err, &refused) || *refused != (kvm.MSRError{Index: msrNone, Done: 1, Total: 3}) {
			t.Errorf("%s: error %v, want one that names %#x", what, err, msrNone)
		}
	}
	check("SetMSRs", g.cpu.SetMSRs(entries))
	if v, err := g.cpu.MSR(msrLSTAR); err != nil || v != 0x5000 {
		t.Errorf("the MSR before the refused one is %#x, %v, want 0x5000", v, err)
	}
	entries[0].Data = 0
	check("MSRs", g.cpu.MSRs(entries))
	if entries[0].Data != 0x5000 {
		t.Errorf("the MSR before the refused one was read as %#x, want 0x5000", entries[0].Data)
	}
}

// TestManyMSRs asks for more than the kernel takes at once.
func TestManyMSRs(t *testing.T) {
	g := newGuest(t, nil)
	entries := make([]kvm.MSREntry, 600)
	for i := range entries {
		entries[i].Index = msrLSTAR
	}
	entries[599].Index = msrNone
	must(t, g.cpu.SetMSR(msrLSTAR, 0x7000))
	var refused *kvm.MSRError
	if err := g.cpu.MSRs(entries); !errors.As(err, &refused) || refused.Done != 599 || refused.Total != 600 {
		t.Errorf("error %v, want one at entry 599 of 600", err)
	}
	if entries[598].Data != 0x7000 {
		t.Errorf("entry 598 = %#x, want 0x7000", entries[598].Data)
	}
}

func TestFeatureMSRs(t *testing.T) {
	g := newGuest(t, nil)
	list, err := g.sys.FeatureMSRIndexList()
	must(t, err)
	if len(list) == 0 {
		t.Fatal("no feature MSRs")
	}
	must(t, g.sys.FeatureMSRs([]kvm.MSREntry{{Index: list[0]}}))
	var refused *kvm.MSRError
	if err := g.sys.FeatureMSRs([]kvm.MSREntry{{Index: msrNone}}); !errors.As(err, &refused) || refused.Index != msrNone {
		t.Errorf("error %v, want one that names %#x", err, msrNone)
	}
}

func TestIRQChipState(t *testing.T) {
	g := newGuest(t, nil, withIRQChip, func(t testing.TB, vm *kvm.VM) { must(t, vm.CreatePIT(true)) })

	pit, err := g.vm.PIT()
	must(t, err)
	pit.Channels[2].Count = 0x1234
	must(t, g.vm.SetPIT(pit))
	if pit, err = g.vm.PIT(); err != nil || pit.Channels[2].Count != 0x1234 {
		t.Errorf("PIT channel 2 counts from %#x, %v", pit.Channels[2].Count, err)
	}

	ioapic, err := g.vm.IRQChip(kvm.ChipIOAPIC)
	must(t, err)
	// struct kvm_ioapic_state: base address, then from byte 24 the pins, 8 bytes each.
	const pin4 = 24 + 4*8
	ioapic.Chip[pin4] = 0x44 // its vector
	must(t, g.vm.SetIRQChip(ioapic))
	if ioapic, err = g.vm.IRQChip(kvm.ChipIOAPIC); err != nil || ioapic.Chip[pin4] != 0x44 {
		t.Errorf("pin 4 has vector %#x, %v", ioapic.Chip[pin4], err)
	}

	lapic, err := g.cpu.LAPIC()
	must(t, err)
	const taskPriority = 0x80
	lapic.Regs[taskPriority] = 0x30
	must(t, g.cpu.SetLAPIC(lapic))
	if lapic, err = g.cpu.LAPIC(); err != nil || lapic.Regs[taskPriority] != 0x30 {
		t.Errorf("TPR = %#x, %v", lapic.Regs[taskPriority], err)
	}
}

func TestEventsAndMPState(t *testing.T) {
	g := newGuest(t, nil, withIRQChip)
	e, err := g.cpu.Events()
	must(t, err)
	e.N.Masked = 1
	must(t, g.cpu.SetEvents(e))
	if e, err = g.cpu.Events(); err != nil || e.N.Masked != 1 {
		t.Errorf("events %+v, %v, want NMIs masked", e, err)
	}
	if s, err := g.cpu.MPState(); err != nil || s != kvm.MPRunnable {
		t.Errorf("boot processor is %v, %v, want runnable", s, err)
	}
	ap := g.newCPU(t, 1)
	if s, err := ap.MPState(); err != nil || s != kvm.MPUninitialized {
		t.Errorf("second processor is %v, %v, want uninitialized", s, err)
	}
	must(t, ap.SetMPState(kvm.MPHalted))
	if s, err := ap.MPState(); err != nil || s != kvm.MPHalted {
		t.Errorf("second processor is %v, %v, want halted", s, err)
	}
}

func TestClocks(t *testing.T) {
	g := newGuest(t, nil)
	khz, err := g.cpu.TSCKHz()
	must(t, err)
	if khz < 1e5 || khz > 1e8 {
		t.Errorf("TSC runs at %d kHz", khz)
	}
	must(t, g.cpu.SetTSCKHz(khz))
	const ahead = uint64(1) << 50
	must(t, g.vm.SetClock(kvm.ClockData{Clock: ahead}))
	c, err := g.vm.Clock()
	must(t, err)
	if c.Clock < ahead || c.Clock > ahead+3600e9 {
		t.Errorf("clock %d soon after it was set to %d", c.Clock, ahead)
	}
}

func TestSecondProcessorStarts(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	// The boot processor sends INIT and SIPI to all others through its local
	// APIC, in long mode; they start in real mode at 0x7000 and write their
	// letter.
	g := newGuest(t, []byte{
		0xbb, 0x00, 0x03, 0xe0, 0xfe, // mov ebx, 0xfee00300: the interrupt command register
		0xc7, 0x03, 0x00, 0x45, 0x0c, 0x00, // mov dword [rbx], 0xc4500: INIT to all but self
		0xc7, 0x03, 0x07, 0x46, 0x0c, 0x00, // mov dword [rbx], 0xc4607: SIPI, page 7
		0xb0, 'B', 0xe6, 0x10, // out 0x10, 'B'
		0xf4, // hlt
	}, withIRQChip)
	g.longMode(t)
	copy(g.memory[0x7000:], []byte{
		0xb0, 'A', 0xe6, 0x10, // out 0x10, 'A'
		0xf4, // hlt
	})
	ap := g.newCPU(t, 1)
	type result struct {
		data []byte
		err  error
	}
	started := make(chan result)
	go func() {
		// KVM_RUN waits for the SIPI, then returns EAGAIN, which Run repeats.
		for {
			exit, err := ap.Run()
			if errors.Is(err, kvm.ErrInterrupted) {
				continue
			}
			var r result
			if io, ok := exit.(*kvm.IO); ok {
				r.data = bytes.Clone(io.Data)
			}
			r.err = err
			started <- r
			return
		}
	}()
	if got := readPort(t, g.cpu, 1); string(got) != "B" {
		t.Errorf("boot processor wrote %q", got)
	}
	r := <-started
	must(t, r.err)
	if string(r.data) != "A" {
		t.Errorf("second processor wrote %q, want A", r.data)
	}
}

func TestSetupBeforeTheFirstVCPU(t *testing.T) {
	const bootCPU = 3
	g := newGuest(t, nil, withIRQChip, func(t testing.TB, vm *kvm.VM) {
		must(t, vm.SetIdentityMapAddr(0xfffb_c000))
		must(t, vm.SetBootCPU(bootCPU))
	})
	if s, err := g.cpu.MPState(); err != nil || s != kvm.MPUninitialized {
		t.Errorf("vCPU 0 is %v, %v, want uninitialized: it is not the boot processor", s, err)
	}
	boot := g.newCPU(t, bootCPU)
	if boot.ID() != bootCPU {
		t.Errorf("ID() = %d, want %d", boot.ID(), bootCPU)
	}
	if s, err := boot.MPState(); err != nil || s != kvm.MPRunnable {
		t.Errorf("vCPU %d is %v, %v, want runnable", bootCPU, s, err)
	}
	if err := g.vm.SetBootCPU(0); !errors.Is(err, unix.EBUSY) {
		t.Errorf("SetBootCPU after a vCPU was made: %v, want EBUSY", err)
	}
}

func TestSMIIsPending(t *testing.T) {
	g := newGuest(t, nil)
	err := g.cpu.SMI()
	if n, checkErr := g.vm.Check(kvm.CapX86SMM); checkErr != nil || n == 0 {
		if !errors.Is(err, kvm.ErrNotSupported) {
			t.Errorf("SMI() = %v on a host without SMM, %v", err, checkErr)
		}
		return
	}
	must(t, err)
	if e, err := g.cpu.Events(); err != nil || e.S.Pening == 0 {
		t.Errorf("events %+v, %v, want a pending SMI", e, err)
	}
}

func TestKVMClockCtrlWantsKVMClock(t *testing.T) {
	g := newGuest(t, nil)
	wantError(t, g.cpu.KVMClockCtrl(), unix.EINVAL, "kvm: kvmclock ctrl vcpu 0: invalid argument")
}

func TestVMTSCFrequency(t *testing.T) {
	want := hostTSCKHz(t)
	g := newGuest(t, nil, func(t testing.TB, vm *kvm.VM) {
		// The host's own frequency needs no scaling, and so no capability.
		must(t, vm.SetTSCKHz(want))
	})
	if khz, err := g.cpu.TSCKHz(); err != nil || khz != want {
		t.Errorf("TSCKHz = %d, %v, want %d", khz, err, want)
	}
}

func hostTSCKHz(t testing.TB) uint32 {
	g := newGuest(t, nil)
	khz, err := g.cpu.TSCKHz()
	must(t, err)
	return khz
}
