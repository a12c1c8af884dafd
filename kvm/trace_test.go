package kvm_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

func TestTraceShowsEveryIoctl(t *testing.T) {
	var calls []kvm.Call
	g := newTracedGuest(t, func(c kvm.Call) { calls = append(calls, c) }, []byte{
		0xb0, 'x', 0xe6, 0x10, // out 0x10, 'x'
	}, withIRQChip)
	calls = calls[:0]

	must(t, g.vm.SetMemory(kvm.MemorySlot{Slot: 3, GPA: 1 << 32, Flags: kvm.MemLogDirtyPages, Memory: mapMemory(t, 1<<20)}))
	must(t, g.vm.DeleteMemory(3))
	_, err := g.vm.Check(kvm.CapIRQFD)
	must(t, err)
	must(t, g.vm.SetGSIRouting([]kvm.Route{kvm.RouteChip(4, kvm.ChipIOAPIC, 4), kvm.RouteMSI(24, kvm.MSI{Address: 0xfee00000, Data: 0x41})}))
	must(t, g.vm.SetIOEventFD(kvm.IOEvent{Addr: 0x50, PIO: true, Len: 2, DataMatch: true, Data: 7, EventFD: newEventFD(t).Fd()}))
	if err := g.vm.SetIRQFD(0, 5); err == nil {
		t.Error("descriptor 0 is an eventfd")
	}
	must(t, g.cpu.SetRegs(kvm.Regs{RIP: codeAt, RFLAGS: 2, RAX: 0x99}))
	must(t, g.cpu.SetMSR(msrLSTAR, 0x1000))
	run[*kvm.IO](t, g.cpu)
	must(t, g.cpu.Bind())
	must(t, g.cpu.Kick())
	g.cpu.Unbind()
	if _, err := g.cpu.Run(); !errors.Is(err, kvm.ErrInterrupted) {
		t.Errorf("Run() = %v", err)
	}

	want := []string{
		`vm: KVM_SET_USER_MEMORY_REGION(slot 3 gpa 0x100000000 size 1 MiB hva H log dirty pages) = 0`,
		`vm: KVM_SET_USER_MEMORY_REGION(slot 3 delete) = 0`,
		`vm: KVM_CHECK_EXTENSION(KVM_CAP_IRQFD) = 1`,
		`vm: KVM_SET_GSI_ROUTING(gsi 4 to ioapic pin 4, gsi 24 to msi 0xfee00000 data 0x41) = 0`,
		`vm: KVM_IOEVENTFD(port 0x50 len 2 data 0x7 fd N) = 0`,
		`vm: KVM_IRQFD(fd N gsi 5) = invalid argument`,
		`vm: KVM_CHECK_EXTENSION(KVM_CAP_IRQFD) = 1`, // is it that this host has none?
		`vcpu 0: KVM_SET_REGS(rip 0x1000 rflags 0x2 rax 0x99 rbx 0x0 rcx 0x0 rdx 0x0 rsi 0x0 rdi 0x0 rsp 0x0 rbp 0x0) = 0`,
		`vcpu 0: KVM_SET_MSRS(0xc0000082=0x1000) = 1`,
		`vcpu 0: KVM_RUN(IO out port 0x10 size 1 data 78) = 0`,
		`vcpu 0: KVM_RUN() = interrupted system call`,
	}
	changing := regexp.MustCompile(` <.*>$|hva (0x[0-9a-f]+)|fd ([0-9]+)`)
	var got []string
	for i, c := range calls {
		if c.Request == kvm.RequestRun && errors.Is(c.Err, unix.EINTR) && i < len(calls)-1 {
			continue // a signal of the Go runtime's came before the exit
		}
		got = append(got, changing.ReplaceAllStringFunc(c.String(), func(s string) string {
			switch {
			case strings.HasPrefix(s, "hva"):
				return "hva H"
			case strings.HasPrefix(s, "fd"):
				return "fd N"
			}
			return ""
		}))
		if c.Duration <= 0 || c.Start.IsZero() {
			t.Errorf("%v took %v from %v", c.Request, c.Duration, c.Start)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("trace:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if last := calls[len(calls)-1]; last.Request != kvm.RequestRun || !errors.Is(last.Err, unix.EINTR) {
		t.Errorf("last call is %+v", last)
	}
}

// TestNoTracerCostsNothing: arguments stay on the caller's stack.
func TestNoTracerCostsNothing(t *testing.T) {
	g := newGuest(t, nil, withIRQChip)
	for name, call := range map[string]func() error{
		"Regs":       func() error { _, err := g.cpu.Regs(); return err },
		"SetRegs":    func() error { return g.cpu.SetRegs(kvm.Regs{RFLAGS: 2}) },
		"Sregs":      func() error { _, err := g.cpu.Sregs(); return err },
		"SetIRQLine": func() error { return g.vm.SetIRQLine(3, false) },
		"SignalMSI":  func() error { _, err := g.vm.SignalMSI(msiMessage); return err },
		"Check":      func() error { _, err := g.vm.Check(kvm.CapIRQFD); return err },
	} {
		if n := testing.AllocsPerRun(100, func() { must(t, call()) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}
