package kvm_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/kvm"
)

// picGuest sets up the PICs (vectors 0x20 and 0x28 up) and halts with
// interrupts on. The handler of GSI 5 writes to port 0x10, acknowledges and
// returns.
var picGuest = []byte{
	0xb0, 0x11, 0xe6, 0x20, // ICW1: edge triggered, ICW4 follows
	0xb0, 0x20, 0xe6, 0x21, // ICW2: vectors from 0x20
	0xb0, 0x04, 0xe6, 0x21, // ICW3: the slave is on line 2
	0xb0, 0x01, 0xe6, 0x21, // ICW4: 8086 mode
	0xb0, 0x00, 0xe6, 0x21, // OCW1: nothing masked
	0xb0, 'r', 0xe6, 0x10, // tell the test that the PIC is ready
	0xfb,       // sti
	0xf4,       // hlt
	0xeb, 0xfd, // jmp to hlt
}

var picHandler = []byte{
	0xb0, 'I', 0xe6, 0x10, // out 0x10, 'I'
	0xb0, 0x20, 0xe6, 0x20, // EOI
	0xcf, // iret
}

const (
	picHandlerAt = 0x1800
	picGSI       = 5
)

func newPICGuest(t *testing.T) *guest {
	t.Helper()
	g := newGuest(t, picGuest, withIRQChip)
	copy(g.memory[picHandlerAt:], picHandler)
	const vector = 0x20 + picGSI
	g.realModeGate(vector, picHandlerAt)
	if got := readPort(t, g.cpu, 1); string(got) != "r" {
		t.Fatalf("guest says %q, want r", got)
	}
	return g
}

func newEventFD(t *testing.T) *eventfd.FD {
	t.Helper()
	e, err := eventfd.New()
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

func TestIRQLineInterruptsTheGuest(t *testing.T) {
	g := newPICGuest(t)
	for range 3 {
		must(t, g.vm.SetIRQLine(picGSI, true))
		must(t, g.vm.SetIRQLine(picGSI, false))
		if got := readPort(t, g.cpu, 1); string(got) != "I" {
			t.Errorf("handler wrote %q", got)
		}
	}
	n, err := g.vm.SetIRQLineStatus(picGSI, true)
	must(t, err)
	if n <= 0 {
		t.Errorf("SetIRQLineStatus = %d, want delivered", n)
	}
	readPort(t, g.cpu, 1)
}

func TestIRQFDInterruptsTheGuest(t *testing.T) {
	g := newPICGuest(t)
	e := newEventFD(t)
	must(t, g.vm.SetIRQFD(e.Fd(), picGSI))
	for range 3 {
		must(t, e.Signal())
		if got := readPort(t, g.cpu, 1); string(got) != "I" {
			t.Errorf("handler wrote %q", got)
		}
	}
	must(t, g.vm.UnsetIRQFD(e.Fd(), picGSI))
	must(t, e.Signal())
	if !e.Pending() {
		t.Error("the eventfd is still read by KVM after UnsetIRQFD")
	}
}

func TestResampleIRQFD(t *testing.T) {
	g := newPICGuest(t)
	copy(g.memory[picHandlerAt:], []byte{
		0xb0, 'a', 0xe6, 0x10, // out 0x10, 'a': before the acknowledgement
		0xb0, 0x20, 0xe6, 0x20, // EOI
		0xb0, 'b', 0xe6, 0x10, // out 0x10, 'b': after it
		0xcf, // iret
	})
	e, resample := newEventFD(t), newEventFD(t)
	must(t, g.vm.SetResampleIRQFD(e.Fd(), resample.Fd(), picGSI))
	for range 2 {
		must(t, e.Signal())
		if got := readPort(t, g.cpu, 1); string(got) != "a" || resample.Pending() {
			t.Fatalf("handler wrote %q, want a; resampled: %v, want false", got, resample.Pending())
		}
		if got := readPort(t, g.cpu, 1); string(got) != "b" || !resample.Pending() {
			t.Fatalf("handler wrote %q, want b; resampled: %v, want true", got, resample.Pending())
		}
		if _, err := resample.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	must(t, g.vm.UnsetIRQFD(e.Fd(), picGSI))
}

// msiGuest halts with interrupts on, in long mode. Its handler writes to port
// 0x10 and acknowledges at the local APIC.
var msiGuest = []byte{
	0xfb,       // sti
	0xf4,       // hlt
	0xeb, 0xfd, // jmp to hlt
}

var msiHandler = []byte{
	0xb0, 'M', 0xe6, 0x10, // out 0x10, 'M'
	0xb8, 0xb0, 0x00, 0xe0, 0xfe, // mov eax, 0xfee000b0: EOI
	0xc7, 0x00, 0, 0, 0, 0, // mov dword [rax], 0
	0x48, 0xcf, // iretq
}

const (
	msiVector    = 0x41
	msiHandlerAt = 0x1800
)

func newMSIGuest(t *testing.T, irqchip option) *guest {
	t.Helper()
	g := newGuest(t, msiGuest, irqchip)
	g.longMode(t)
	copy(g.memory[msiHandlerAt:], msiHandler)
	g.gate(msiVector, msiHandlerAt)
	lapic, err := g.cpu.LAPIC()
	must(t, err)
	const spuriousVector, enable = 0xf0, 1 << 8
	lapic.Regs[spuriousVector], lapic.Regs[spuriousVector+1] = 0xff, enable>>8
	must(t, g.cpu.SetLAPIC(lapic))
	return g
}

var msiMessage = kvm.MSI{Address: 0xfee0_0000, Data: msiVector}

func TestSignalMSI(t *testing.T) {
	g := newMSIGuest(t, withIRQChip)
	for range 3 {
		n, err := g.vm.SignalMSI(msiMessage)
		must(t, err)
		if n != 1 {
			t.Errorf("SignalMSI went to %d vCPUs, want 1", n)
		}
		if got := readPort(t, g.cpu, 1); string(got) != "M" {
			t.Errorf("handler wrote %q", got)
		}
	}
}

// TestMSIRoutes also finds a wrong size of the entries: the second of them
// would be read from the middle.
func TestMSIRoutes(t *testing.T) {
	g := newMSIGuest(t, withIRQChip)
	const gsi = 30
	other := kvm.MSI{Address: 0xfee0_0000, Data: 0x50}
	routes := append(kvm.DefaultRoutes(), kvm.RouteMSI(24, other), kvm.RouteMSI(gsi, msiMessage), kvm.RouteMSI(31, other))
	must(t, g.vm.SetGSIRouting(routes))
	e := newEventFD(t)
	must(t, g.vm.SetIRQFD(e.Fd(), gsi))
	for range 3 {
		must(t, e.Signal())
		if got := readPort(t, g.cpu, 1); string(got) != "M" {
			t.Errorf("handler wrote %q", got)
		}
	}
}

// TestSplitIRQChip has the IOAPIC in user space: a pin is an MSI route, and
// the end of a level interrupt comes back as an exit.
func TestSplitIRQChip(t *testing.T) {
	g := newMSIGuest(t, func(t testing.TB, vm *kvm.VM) { must(t, vm.CreateSplitIRQChip(24)) })
	const pin = 5
	level := kvm.MSI{Address: msiMessage.Address, Data: msiMessage.Data | 1<<15 | 1<<14}
	must(t, g.vm.SetGSIRouting([]kvm.Route{kvm.RouteMSI(pin, level)}))
	must(t, g.vm.SetIRQLine(pin, true))
	if got := readPort(t, g.cpu, 1); string(got) != "M" {
		t.Errorf("handler wrote %q", got)
	}
	e := run[*kvm.IOAPICEOI](t, g.cpu)
	if e.Vector != msiVector {
		t.Errorf("exit %v, want vector %#x", e, msiVector)
	}
}

func TestInterruptWithoutIRQChip(t *testing.T) {
	g := newGuest(t, []byte{
		0x90,       // nop, interrupts still off
		0xfb,       // sti
		0x90,       // nop, in the shadow of sti
		0xeb, 0xfe, // jmp to itself
	})
	const vector = 0x25
	copy(g.memory[picHandlerAt:], picHandler)
	g.realModeGate(vector, picHandlerAt)
	must(t, g.cpu.RequestInterruptWindow(true))
	run[*kvm.IRQWindowOpen](t, g.cpu)
	if !g.cpu.ReadyForInterrupt() {
		t.Fatal("not ready for an interrupt in an interrupt window")
	}
	must(t, g.cpu.RequestInterruptWindow(false))
	must(t, g.cpu.Interrupt(vector))
	if got := readPort(t, g.cpu, 1); string(got) != "I" {
		t.Errorf("handler wrote %q", got)
	}
}

func TestNMI(t *testing.T) {
	g := newGuest(t, []byte{0xeb, 0xfe}) // jmp to itself, interrupts off
	copy(g.memory[picHandlerAt:], picHandler)
	g.realModeGate(2, picHandlerAt)
	must(t, g.cpu.NMI())
	if got := readPort(t, g.cpu, 1); string(got) != "I" {
		t.Errorf("handler wrote %q", got)
	}
}

// ioEventGuest writes to a port and to memory, and ends each round with a
// HLT.
var ioEventGuest = []byte{
	0xb8, 0x00, 0x90, // mov ax, 0x9000
	0x8e, 0xd8, // mov ds, ax
	0xb0, 0x01, // mov al, 1
	0xe6, 0x50, // out 0x50, al
	0xc7, 0x06, 0x00, 0x00, 0x07, 0x00, // mov word [0], 7
	0xf4,       // hlt
	0xeb, 0xee, // jmp to the start
}

func TestIOEventFD(t *testing.T) {
	const gpa = 0x90000
	for _, test := range []struct {
		name  string
		event kvm.IOEvent
		exits []kvm.ExitReason // of one round
	}{
		{
			"port",
			kvm.IOEvent{Addr: 0x50, PIO: true, Len: 1},
			[]kvm.ExitReason{kvm.ReasonMMIO, kvm.ReasonHLT},
		},
		{
			"port with its value",
			kvm.IOEvent{Addr: 0x50, PIO: true, Len: 1, DataMatch: true, Data: 1},
			[]kvm.ExitReason{kvm.ReasonMMIO, kvm.ReasonHLT},
		},
		{
			"port with another value",
			kvm.IOEvent{Addr: 0x50, PIO: true, Len: 1, DataMatch: true, Data: 2},
			[]kvm.ExitReason{kvm.ReasonIO, kvm.ReasonMMIO, kvm.ReasonHLT},
		},
		{
			"port with another width",
			kvm.IOEvent{Addr: 0x50, PIO: true, Len: 2},
			[]kvm.ExitReason{kvm.ReasonIO, kvm.ReasonMMIO, kvm.ReasonHLT},
		},
		{
			"port with any width",
			kvm.IOEvent{Addr: 0x50, PIO: true},
			[]kvm.ExitReason{kvm.ReasonMMIO, kvm.ReasonHLT},
		},
		{
			"memory",
			kvm.IOEvent{Addr: gpa, Len: 2},
			[]kvm.ExitReason{kvm.ReasonIO, kvm.ReasonHLT},
		},
		{
			"memory with its value",
			kvm.IOEvent{Addr: gpa, Len: 2, DataMatch: true, Data: 7},
			[]kvm.ExitReason{kvm.ReasonIO, kvm.ReasonHLT},
		},
		{
			"memory with any width",
			kvm.IOEvent{Addr: gpa},
			[]kvm.ExitReason{kvm.ReasonIO, kvm.ReasonHLT},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGuest(t, ioEventGuest)
			e := newEventFD(t)
			test.event.EventFD = e.Fd()
			must(t, g.vm.SetIOEventFD(test.event))
			expectExits(t, g.cpu, test.exits)
			if want := len(test.exits) == 2; e.Pending() != want {
				t.Errorf("signalled: %v, want %v", e.Pending(), want)
			}
			must(t, g.vm.UnsetIOEventFD(test.event))
			expectExits(t, g.cpu, []kvm.ExitReason{kvm.ReasonIO, kvm.ReasonMMIO, kvm.ReasonHLT})
		})
	}
}

func TestIOEventFDTwice(t *testing.T) {
	g := newGuest(t, nil)
	e := newEventFD(t)
	event := kvm.IOEvent{Addr: 0x50, PIO: true, Len: 1, EventFD: e.Fd()}
	must(t, g.vm.SetIOEventFD(event))
	err := g.vm.SetIOEventFD(event)
	wantError(t, err, unix.EEXIST, "kvm: set ioeventfd port 0x50 len 1: file exists")
}

func expectExits(t *testing.T, cpu *kvm.VCPU, want []kvm.ExitReason) {
	t.Helper()
	for _, reason := range want {
		if e := run[kvm.Exit](t, cpu); e.Reason() != reason {
			t.Fatalf("exit %v, want %v", e, reason)
		}
	}
}
