package vmm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"tandem/vmm/layout"
)

func TestEndings(t *testing.T) {
	badIDT := protected32()
	// lidt [0]: a limit of 0, then ud2: the fault has no handler, nor has its fault.
	badIDT.emit(0x0F, 0x01, 0x1D).imm(0).emit(0x0F, 0x0B)
	for _, test := range []struct {
		name   string
		guest  *asm
		want   Ending
		detail string
	}{
		{"power-off", real16().powerOff(), PowerOff, "S5"},
		{"sleep state that does not exist", real16().outb(layout.SleepControl, 3<<2|layout.SleepEnable).powerOff(), PowerOff, "S5"},
		{"sleep type without enable", real16().outb(layout.SleepControl, layout.SleepTypeS5<<2).outb(layout.Reset, 1).halt(), Reboot, "reset register"},
		{"ACPI reset", real16().outb(layout.Reset, layout.ResetValue).halt(), Reboot, "reset register"},
		{"keyboard reset", real16().outb(layout.I8042Command, 0xFE).halt(), Reboot, "keyboard"},
		{"keyboard output port", real16().outb(layout.I8042Command, 0xD1).outb(layout.I8042Data, 0xFE).halt(), Reboot, "keyboard"},
		{"panic", real16().store16(layout.ResetFlag, layout.ResetFlagWarm).outb(layout.Reset, 1).halt(), Panic, "reset register"},
		{"cold reset", real16().store16(layout.ResetFlag, 0x1235).outb(layout.Reset, 1).halt(), Reboot, "reset register"},
		{"triple fault", badIDT, TripleFault, "SHUTDOWN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := run(t, test.guest.spec())
			if o.Ending != test.want || !strings.Contains(o.Detail, test.detail) {
				t.Errorf("outcome = %v, want %v with %q", o, test.want, test.detail)
			}
		})
	}
}

func TestSerialOutput(t *testing.T) {
	got, o := talk(t, real16().print("hello, world\n").powerOff().spec())
	if got != "hello, world\n" || o.Ending != PowerOff {
		t.Errorf("guest wrote %q, ended as %v", got, o)
	}
}

// A guest that raises RTS and then echoes each byte until it gets a dot.
func TestSerialInput(t *testing.T) {
	guest := real16()
	guest.outb(layout.COM1+4, 2) // MCR: RTS
	next := guest.Len()
	guest.emit(0xBA).imm(layout.COM1 + 5)
	poll := guest.Len()
	guest.emit(0xEC, 0xA8, 0x01).jz(poll)              // in al, dx; test al, 1
	guest.emit(0xBA).imm(layout.COM1).emit(0xEC, 0xEE) // in al, dx; out dx, al
	guest.emit(0x3C, '.').jnz(next)                    // cmp al, '.'
	guest.powerOff()

	spec := guest.spec()
	sent := strings.Repeat("0123456789abcdef", 40) + "."
	spec.Serial[0].In = strings.NewReader(sent)
	got, o := talk(t, spec)
	if got != sent || o.Ending != PowerOff {
		t.Errorf("echo = %q (%d bytes), want %d bytes; %v", got, len(got), len(sent), o)
	}
}

func TestBootTimer(t *testing.T) {
	o := run(t, real16().outb(layout.BootTimer, layout.BootTimerInit).outb(layout.BootTimer, 7).powerOff().spec())
	if len(o.Marks) != 2 || o.Marks[0].Value != 1 || o.Marks[1].Value != 7 {
		t.Fatalf("marks = %+v, want 1 and 7", o.Marks)
	}
	if m := o.Marks; m[0].Wall <= 0 || m[1].Wall < m[0].Wall || m[0].CPU <= 0 || m[1].CPU < m[0].CPU {
		t.Errorf("marks = %+v, want times that rise", m)
	}
}

func TestPauseResumeStop(t *testing.T) {
	guest := protected32()
	guest.emit(0xFF, 0x05).imm(0x3000).jmp(0) // inc dword [0x3000]: progress that the test can see
	vm := newVM(t, guest.spec())
	counter := func() uint32 {
		b, err := vm.Memory().Slice(0x3000, 4)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	}
	ctx := testContext(t)
	if err := vm.Pause(ctx); !errors.Is(err, ErrState) {
		t.Errorf("Pause before Start = %v, want ErrState", err)
	}
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if err := vm.Start(); !errors.Is(err, ErrState) {
		t.Errorf("second Start = %v, want ErrState", err)
	}
	for range 50 {
		if err := vm.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if got := vm.State(); got != Paused {
			t.Fatalf("state = %v, want paused", got)
		}
		// A paused vCPU's state can be read at once, and does not change.
		regs, err := vm.cpus[0].vcpu.Regs()
		if err != nil {
			t.Fatal(err)
		}
		before := counter()
		again, err := vm.cpus[0].vcpu.Regs()
		if err != nil {
			t.Fatal(err)
		}
		if regs != again || counter() != before {
			t.Fatalf("a paused guest went on: %d to %d", before, counter())
		}
		if err := vm.Resume(); err != nil {
			t.Fatal(err)
		}
		for counter() == before {
			if ctx.Err() != nil {
				t.Fatal("a resumed guest does not go on")
			}
		}
	}
	vm.Stop()
	if o := wait(t, vm); o.Ending != Stopped || o.CPU != -1 {
		t.Errorf("outcome = %v, want stopped", o)
	}
	if err := vm.Resume(); !errors.Is(err, ErrState) {
		t.Errorf("Resume after the end = %v, want ErrState", err)
	}
}

func TestStopBeforeStart(t *testing.T) {
	vm := newVM(t, real16().powerOff().spec())
	vm.Stop()
	if o := wait(t, vm); o.Ending != Stopped || o.Run != 0 {
		t.Errorf("outcome = %v, want stopped after 0s", o)
	}
	if err := vm.Start(); !errors.Is(err, ErrState) {
		t.Errorf("Start after Stop = %v, want ErrState", err)
	}
}

// The first ending counts, however many follow.
func TestStopManyTimes(t *testing.T) {
	vm := newVM(t, protected32().spin().spec())
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		go vm.Stop()
	}
	if o := wait(t, vm); o.Ending != Stopped {
		t.Errorf("outcome = %v, want stopped", o)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	vm := newVM(t, protected32().spin().spec())
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := vm.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want context.Canceled", err)
	}
}

// A guest that writes more than anybody reads must still end when it is stopped.
func TestOutputThatNobodyReads(t *testing.T) {
	guest := real16()
	guest.emit(0xBA).imm(layout.COM1).emit(0xB0, 'x', 0xEE, 0xEB, 0xFD) // out dx, al; jmp back
	spec := guest.spec()
	r, w := io.Pipe()
	spec.Serial[0].Out = w
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	vm.Stop()
	r.Close() // the writer gets an error, and the rest is thrown away
	if o := wait(t, vm); o.Ending != Stopped {
		t.Errorf("outcome = %v, want stopped", o)
	}
}
