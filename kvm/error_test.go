package kvm_test

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

func wantError(t *testing.T, err, is error, text string) {
	t.Helper()
	if !errors.Is(err, is) || err.Error() != text {
		t.Errorf("error %v, want %q, which is %v", err, text, is)
	}
}

func TestErrorsNameOperationAndObject(t *testing.T) {
	g := newGuest(t, nil)
	_, err := g.vm.CreateVCPU(0)
	wantError(t, err, unix.EEXIST, "kvm: create vcpu 0: file exists")
	err = g.vm.SetIRQFD(0, 5)
	wantError(t, err, unix.EINVAL, "kvm: set irqfd gsi 5: invalid argument") // not an eventfd
	err = g.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: 0x1000, Memory: mapMemory(t, 0x1000)})
	wantError(t, err, unix.EEXIST, "kvm: set memory slot 1: file exists") // overlaps slot 0
	err = g.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: 1 << 32, Memory: mapMemory(t, 0x1000)[:0x10]})
	wantError(t, err, unix.EINVAL, "kvm: set memory slot 1: invalid argument") // not whole pages
}

func TestNotSupportedNamesTheCapability(t *testing.T) {
	g := newGuest(t, nil)
	const noSuch = kvm.Capability(0x12345) // wider than 8 and 16 bits
	n, err := g.sys.Check(noSuch)
	must(t, err)
	if n != 0 {
		t.Errorf("Check(%v) = %d", noSuch, n)
	}
	err = g.sys.Require(kvm.CapUserMemory, noSuch)
	wantError(t, err, kvm.ErrNotSupported, "kvm: check extension: not supported by this host's KVM: KVM_CAP(74565)")
	err = g.vm.EnableCap(noSuch)
	var missing *kvm.NotSupportedError
	if !errors.As(err, &missing) || missing.Capability != noSuch {
		t.Errorf("EnableCap(%v) = %v, want a NotSupportedError", noSuch, err)
	}
	must(t, g.vm.Require(kvm.CapUserMemory, kvm.CapImmediateExit, kvm.CapIRQFD, kvm.CapIOEventFD))
}

func TestClosedObjectsSaySo(t *testing.T) {
	g := newGuest(t, loopOut)
	for range 2 {
		must(t, g.cpu.Close())
		must(t, g.vm.Close())
		must(t, g.sys.Close())
	}
	_, err := g.cpu.Run()
	wantError(t, err, kvm.ErrClosed, "kvm: run vcpu 0: already closed")
	_, err = g.cpu.Regs()
	wantError(t, err, kvm.ErrClosed, "kvm: get regs vcpu 0: already closed")
	wantError(t, g.cpu.Kick(), kvm.ErrClosed, "kvm: kick vcpu 0: already closed")
	wantError(t, g.cpu.CompleteMSR(0, false), kvm.ErrClosed, "kvm: complete msr access vcpu 0: already closed")
	_, err = g.vm.CreateVCPU(1)
	wantError(t, err, kvm.ErrClosed, "kvm: create vcpu 1: already closed")
	wantError(t, g.vm.SetIRQLine(3, true), kvm.ErrClosed, "kvm: set irq line gsi 3: already closed")
	_, err = g.sys.CreateVM()
	wantError(t, err, kvm.ErrClosed, "kvm: create vm: already closed")
	if g.cpu.ReadyForInterrupt() {
		t.Error("a closed vCPU is ready for an interrupt")
	}
}

// TestCloseWhileInUse: Close must not pull kvm_run or the descriptor from
// under a Run, nor give its number to another file in between.
func TestCloseWhileInUse(t *testing.T) {
	for range 20 {
		g := newGuest(t, loopOut)
		started := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for n := 0; ; n++ {
				exit, err := g.cpu.Run()
				if n == 0 {
					close(started)
				}
				if errors.Is(err, kvm.ErrClosed) {
					return
				}
				if err == nil && exit.Reason() == kvm.ReasonIO {
					continue
				}
				if !errors.Is(err, kvm.ErrInterrupted) {
					t.Errorf("Run() = %v, %v", exit, err)
					return
				}
			}
		})
		<-started
		for range 2 {
			all.Go(func() {
				if err := g.cpu.Close(); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				err := g.cpu.Kick()
				if err != nil && !errors.Is(err, kvm.ErrClosed) && !errors.Is(err, kvm.ErrNotBound) {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
