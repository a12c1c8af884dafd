package kvm_test

import (
	"errors"
	"testing"

	"tandem/kvm"
)

func TestRealModeGuestPrintsThroughAPort(t *testing.T) {
	g := newGuest(t, []byte{
		0xba, 0x10, 0x00, // mov dx, 0x10
		0xb0, 'h', // mov al, 'h'
		0xee,      // out dx, al
		0xb0, 'i', // mov al, 'i'
		0xee, // out dx, al
		0xf4, // hlt
	})
	var got []byte
	for range 2 {
		e := run[*kvm.IO](t, g.cpu)
		if e.Port != 0x10 || e.In || e.Size != 1 || e.Count != 1 {
			t.Fatalf("exit %v", e)
		}
		got = append(got, e.Data...)
	}
	if string(got) != "hi" {
		t.Errorf("guest printed %q, want hi", got)
	}
	if e := run[*kvm.HLT](t, g.cpu); e.Reason() != kvm.ReasonHLT {
		t.Errorf("Reason() = %v", e.Reason())
	}
}

func TestLongModeGuestCalculates(t *testing.T) {
	g := newGuest(t, []byte{
		0x48, 0xb8, 1, 0, 0, 0, 1, 0, 0, 0, // mov rax, 0x100000001
		0x48, 0x01, 0xd8, // add rax, rbx
		0xf4, // hlt
	})
	g.longMode(t)
	must(t, g.cpu.SetRegs(kvm.Regs{RIP: codeAt, RBX: 2 << 32, RFLAGS: 2}))
	run[*kvm.HLT](t, g.cpu)
	regs, err := g.cpu.Regs()
	must(t, err)
	if regs.RAX != 3<<32|1 {
		t.Errorf("rax = %#x, want 0x300000001", regs.RAX)
	}
}

func TestStringIO(t *testing.T) {
	g := newGuest(t, []byte{
		0xba, 0x10, 0x00, // mov dx, 0x10
		0xbe, 0x00, 0x20, // mov si, 0x2000
		0xb9, 0x05, 0x00, // mov cx, 5
		0xfc,       // cld
		0xf3, 0x6e, // rep outsb
		0xbf, 0x00, 0x21, // mov di, 0x2100
		0xb9, 0x03, 0x00, // mov cx, 3
		0xf3, 0x6d, // rep insw
		0xf4, // hlt
	})
	copy(g.memory[dataAt:], "hello")
	out := readPort(t, g.cpu, 5)
	if string(out) != "hello" {
		t.Errorf("rep outsb sent %q, want hello", out)
	}
	const in = "ABCDEF"
	for done := 0; done < len(in); {
		e := run[*kvm.IO](t, g.cpu)
		if !e.In || e.Size != 2 || len(e.Data) != e.Size*e.Count {
			t.Fatalf("exit %v with %d bytes", e, len(e.Data))
		}
		done += copy(e.Data, in[done:])
	}
	run[*kvm.HLT](t, g.cpu)
	if got := string(g.memory[0x2100:][:len(in)]); got != in {
		t.Errorf("rep insw stored %q, want %s", got, in)
	}
}

// readPort collects n bytes that the guest writes to ports.
func readPort(t *testing.T, cpu *kvm.VCPU, n int) []byte {
	t.Helper()
	var got []byte
	for len(got) < n {
		e := run[*kvm.IO](t, cpu)
		if e.In {
			t.Fatalf("exit %v, want an out", e)
		}
		if len(e.Data) != e.Size*e.Count {
			t.Fatalf("exit %v has %d bytes", e, len(e.Data))
		}
		got = append(got, e.Data...)
	}
	return got
}

func TestMMIO(t *testing.T) {
	g := newGuest(t, []byte{
		0xb8, 0x00, 0x90, // mov ax, 0x9000
		0x8e, 0xd8, // mov ds, ax
		0xc6, 0x06, 0x00, 0x00, 0x42, // mov byte [0], 0x42
		0x66, 0xa1, 0x10, 0x00, // mov eax, [0x10]
		0x66, 0xe7, 0x10, // out 0x10, eax
		0xf4, // hlt
	})
	w := run[*kvm.MMIO](t, g.cpu)
	if !w.Write || w.GPA != 0x90000 || string(w.Data) != "\x42" {
		t.Errorf("exit %v, want a write of 42 to 0x90000", w)
	}
	r := run[*kvm.MMIO](t, g.cpu)
	if r.Write || r.GPA != 0x90010 || len(r.Data) != 4 {
		t.Fatalf("exit %v, want a read of 4 bytes at 0x90010", r)
	}
	copy(r.Data, "\x11\x22\x33\x44")
	if got := readPort(t, g.cpu, 4); string(got) != "\x11\x22\x33\x44" {
		t.Errorf("guest read % x", got)
	}
	run[*kvm.HLT](t, g.cpu)
}

func TestShutdownIsATripleFault(t *testing.T) {
	g := newGuest(t, []byte{
		0x0f, 0x0b, // ud2: #UD, and with an empty IDT #GP, #DF and no way on
	})
	g.longMode(t)
	sregs, err := g.cpu.Sregs()
	must(t, err)
	sregs.IDT.Limit = 0
	must(t, g.cpu.SetSregs(sregs))
	run[*kvm.Shutdown](t, g.cpu)
}

func TestInternalErrorOutsideOfMemory(t *testing.T) {
	g := newGuest(t, nil)
	g.longMode(t)
	// The page tables map it, but no slot is there to fetch from.
	must(t, g.cpu.SetRegs(kvm.Regs{RIP: guestMemory, RFLAGS: 2}))
	e := run[*kvm.InternalError](t, g.cpu)
	if e.Suberror != kvm.SuberrorEmulation {
		t.Errorf("exit %v, want suberror 1", e)
	}
	t.Log(e)
}

// loopOut is a guest that writes to a port forever.
var loopOut = []byte{
	0xe6, 0x10, // out 0x10, al
	0xeb, 0xfc, // jmp -4
}

func TestRunDoesNotAllocate(t *testing.T) {
	g := newGuest(t, loopOut)
	n := testing.AllocsPerRun(100, func() {
		exit, err := g.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			return
		}
		must(t, err)
		if e, ok := exit.(*kvm.IO); !ok || e.Port != 0x10 {
			t.Fatalf("exit %v", exit)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations an exit, want 0", n)
	}
}
