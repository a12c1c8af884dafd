package kvm_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

// spin is a guest that never exits by itself, and counts in RCX.
var spin = []byte{
	0x66, 0x41, // inc ecx
	0xeb, 0xfc, // jmp -4
}

func TestKickStopsAnEndlessLoop(t *testing.T) {
	g := newGuest(t, spin)
	var asked atomic.Bool
	started, result := make(chan struct{}), make(chan error)
	go func() {
		if err := g.cpu.Bind(); err != nil {
			result <- err
			return
		}
		defer g.cpu.Unbind()
		close(started)
		for {
			exit, err := g.cpu.Run()
			if exit != nil || !errors.Is(err, kvm.ErrInterrupted) || asked.Load() {
				result <- err
				return
			}
		}
	}()
	<-started
	asked.Store(true)
	must(t, g.cpu.Kick())
	err := <-result
	if !errors.Is(err, kvm.ErrInterrupted) || !errors.Is(err, unix.EINTR) {
		t.Errorf("Run() = %v, want ErrInterrupted", err)
	}
}

// TestNoKickIsLost kicks at all moments: before KVM_RUN, in it, and between
// two. Each time the loop must come to look at its flag; if one kick were
// lost it would spin in the guest forever.
func TestNoKickIsLost(t *testing.T) {
	const (
		kicks = 1000
		lost  = 30 * time.Second // and nobody came to look
	)
	g := newGuest(t, spin)
	var asked atomic.Int64 // how many kicks were made
	seen, failed := make(chan int64, kicks), make(chan error, 1)
	bound, done := make(chan error), make(chan struct{})
	go func() {
		bound <- g.cpu.Bind()
		for last := int64(0); last < kicks; {
			exit, err := g.cpu.Run()
			if exit != nil || !errors.Is(err, kvm.ErrInterrupted) {
				failed <- fmt.Errorf("Run() = %v, %w, want ErrInterrupted", exit, err)
				return
			}
			if n := asked.Load(); n != last {
				last = n
				seen <- n
			}
		}
		<-done // the last Kick may still be about to send its signal
		g.cpu.Unbind()
	}()
	must(t, <-bound)
	defer close(done)
	for n := int64(1); n <= kicks; n++ {
		asked.Store(n)
		must(t, g.cpu.Kick())
		select {
		case got := <-seen:
			if got != n {
				t.Fatalf("kick %d was seen as %d", n, got)
			}
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(lost):
			t.Fatalf("kick %d was lost", n)
		}
		for range n % 7 * 50 { // not always at the same moment
			asked.Load()
		}
	}
}

// TestInterruptedRunIsNoExit has a kick wait when the guest is about to go on
// after an exit. Were that exit read again from kvm_run, the byte would be
// seen twice.
func TestInterruptedRunIsNoExit(t *testing.T) {
	g := newGuest(t, []byte{
		0xb0, 'a', // mov al, 'a'
		0xe6, 0x10, // out 0x10, al
		0xb0, 'b', // mov al, 'b'
		0xe6, 0x10, // out 0x10, al
		0xf4, // hlt
	})
	must(t, g.cpu.Bind())
	defer g.cpu.Unbind()
	var got []byte
	for len(got) < 2 {
		e := run[*kvm.IO](t, g.cpu)
		got = append(got, e.Data...)
		must(t, g.cpu.Kick())
		exit, err := g.cpu.Run()
		if exit != nil || !errors.Is(err, kvm.ErrInterrupted) {
			t.Fatalf("Run() after Kick = %v, %v, want ErrInterrupted", exit, err)
		}
	}
	if string(got) != "ab" {
		t.Errorf("guest printed %q, want ab", got)
	}
	run[*kvm.HLT](t, g.cpu)
}

func TestKickOfAnUnboundVCPU(t *testing.T) {
	g := newGuest(t, spin)
	if err := g.cpu.Kick(); !errors.Is(err, kvm.ErrNotBound) {
		t.Errorf("Kick() = %v, want ErrNotBound", err)
	}
	if exit, err := g.cpu.Run(); exit != nil || !errors.Is(err, kvm.ErrInterrupted) {
		t.Errorf("next Run() = %v, %v, want ErrInterrupted", exit, err)
	}
}

func TestBindTwice(t *testing.T) {
	g := newGuest(t, spin)
	must(t, g.cpu.Bind())
	if err := g.cpu.Bind(); err == nil {
		t.Error("second Bind() did not fail")
	}
	g.cpu.Unbind()
	g.cpu.Unbind()
	must(t, g.cpu.Bind())
	g.cpu.Unbind()
}

// TestComplete: an IN is not done when it exits, but when the guest is
// entered again. Complete does that and no more.
func TestComplete(t *testing.T) {
	g := newGuest(t, []byte{
		0xe4, 0x10, // in al, 0x10
		0xb3, 0x01, // mov bl, 1
		0xf4, // hlt
	})
	e := run[*kvm.IO](t, g.cpu)
	e.Data[0] = 0x5a
	if exit, err := g.cpu.Complete(); exit != nil || err != nil {
		t.Fatalf("Complete() = %v, %v", exit, err)
	}
	regs, err := g.cpu.Regs()
	must(t, err)
	if regs.RAX&0xff != 0x5a || regs.RIP != codeAt+2 || regs.RBX&0xff != 0 {
		t.Errorf("after Complete: al %#x rip %#x bl %#x, want 0x5a %#x 0", regs.RAX&0xff, regs.RIP, regs.RBX&0xff, codeAt+2)
	}
	run[*kvm.HLT](t, g.cpu)
}

// TestSignalMask blocks the kick's signal in the guest. Kick still works from
// outside KVM_RUN, by immediate_exit; that mask 0 lets the signal through
// again shows that the mask was in force.
func TestSignalMask(t *testing.T) {
	g := newGuest(t, spin)
	must(t, g.cpu.SetSignalMask(1<<(kvm.KickSignal-1)))
	must(t, g.cpu.Bind())
	defer g.cpu.Unbind()
	must(t, g.cpu.Kick())
	if _, err := g.cpu.Run(); !errors.Is(err, kvm.ErrInterrupted) {
		t.Errorf("Run() = %v, want ErrInterrupted", err)
	}
	must(t, g.cpu.SetSignalMask(0))
	timer := time.AfterFunc(5*time.Millisecond, func() { _ = g.cpu.Kick() })
	defer timer.Stop()
	if _, err := g.cpu.Run(); !errors.Is(err, kvm.ErrInterrupted) {
		t.Errorf("Run() = %v, want ErrInterrupted", err)
	}
}
