package kvm_test

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/kvm"
)

// Where the test guests have what, in their 128 KiB of memory.
const (
	guestMemory = 0x20000
	codeAt      = 0x1000
	faultAt     = 0x1f00 // where all exceptions lead in real mode
	dataAt      = 0x2000
	stackTop    = 0x8000
	pml4At      = 0x10000
	pdptAt      = 0x11000
	lowPDAt     = 0x12000 // for the first GiB
	highPDAt    = 0x13000 // for the fourth, where the local APIC is
	idtAt       = 0x15000
)

// guest is a VM with one vCPU and a little memory.
type guest struct {
	sys    *kvm.System
	vm     *kvm.VM
	cpu    *kvm.VCPU
	memory []byte
}

// option changes the VM before its vCPU is made.
type option func(t testing.TB, vm *kvm.VM)

func withIRQChip(t testing.TB, vm *kvm.VM) { must(t, vm.CreateIRQChip()) }

func newGuest(t testing.TB, code []byte, options ...option) *guest {
	t.Helper()
	return newTracedGuest(t, nil, code, options...)
}

func newTracedGuest(t testing.TB, trace kvm.Tracer, code []byte, options ...option) *guest {
	t.Helper()
	testenv.Need(t, testenv.KVM)
	g := &guest{memory: mapMemory(t, guestMemory)}
	copy(g.memory[codeAt:], code)
	for vector := range 256 {
		binary.LittleEndian.PutUint32(g.memory[vector*4:], faultAt) // segment 0
	}
	g.memory[faultAt] = 0xf4 // hlt: an exception nobody expects ends the guest there
	var err error
	g.sys, err = kvm.OpenTraced(trace)
	must(t, err)
	t.Cleanup(func() { must(t, g.sys.Close()) })
	g.vm, err = g.sys.CreateVM()
	must(t, err)
	t.Cleanup(func() { must(t, g.vm.Close()) })
	must(t, g.vm.SetTSSAddr(0xfffb_d000))
	must(t, g.vm.SetMemory(kvm.MemorySlot{Memory: g.memory}))
	for _, o := range options {
		o(t, g.vm)
	}
	g.cpu = g.newCPU(t, 0)
	return g
}

// newCPU makes a vCPU that starts at codeAt in real mode.
func (g *guest) newCPU(t testing.TB, id int) *kvm.VCPU {
	t.Helper()
	cpu, err := g.vm.CreateVCPU(id)
	must(t, err)
	t.Cleanup(func() { must(t, cpu.Close()) })
	sregs, err := cpu.Sregs()
	must(t, err)
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	must(t, cpu.SetSregs(sregs))
	must(t, cpu.SetRegs(kvm.Regs{RIP: codeAt, RSP: stackTop, RFLAGS: 2}))
	return cpu
}

func mapMemory(t testing.TB, size int) []byte {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(memory)) })
	return memory
}

// longMode puts the vCPU into 64-bit mode, with the first 2 MiB and the local
// APIC's 2 MiB mapped one to one.
func (g *guest) longMode(t testing.TB) {
	t.Helper()
	const (
		present, writable, large = 1 << 0, 1 << 1, 1 << 7

		table = present | writable
		page  = table | large
	)
	g.put64(pml4At, pdptAt|table)
	g.put64(pdptAt, lowPDAt|table)
	g.put64(pdptAt+3*8, highPDAt|table)
	g.put64(lowPDAt, 0|page)
	g.put64(highPDAt+(0xfee0_0000>>21&511)*8, 0xfee0_0000|page)

	sregs, err := g.cpu.Sregs()
	must(t, err)
	const (
		pe, et, ne, pg = 1 << 0, 1 << 4, 1 << 5, 1 << 31
		pae, osfxsr    = 1 << 5, 1 << 9
		lme, lma       = 1 << 8, 1 << 10
	)
	sregs.CR0, sregs.CR3, sregs.CR4, sregs.EFER = pe|et|ne|pg, pml4At, pae|osfxsr, lme|lma
	code := kvm.Segment{Limit: 0xffff_ffff, Selector: 8, Typ: 11, Present: 1, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: 0xffff_ffff, Selector: 16, Typ: 3, Present: 1, S: 1, DB: 1, G: 1}
	sregs.CS = code
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	sregs.IDT = kvm.Descriptor{Base: idtAt, Limit: 0xfff}
	// What an interrupt loads CS from.
	g.put64(idtAt+0x1000+8, 0x00af_9b00_0000_ffff)
	g.put64(idtAt+0x1000+16, 0x00cf_9300_0000_ffff)
	sregs.GDT = kvm.Descriptor{Base: idtAt + 0x1000, Limit: 23}
	must(t, g.cpu.SetSregs(sregs))
}

// gate points an interrupt vector of the IDT to a handler.
func (g *guest) gate(vector int, handler uint64) {
	const presentInterruptGate = 0x8e00
	low := handler&0xffff | 8<<16 | presentInterruptGate<<32 | handler>>16&0xffff<<48
	g.put64(idtAt+vector*16, low)
	g.put64(idtAt+vector*16+8, handler>>32)
}

// realModeGate points an interrupt vector of the IVT to a handler.
func (g *guest) realModeGate(vector int, handler uint32) {
	binary.LittleEndian.PutUint32(g.memory[vector*4:], handler)
}

func (g *guest) put64(at int, value uint64) { binary.LittleEndian.PutUint64(g.memory[at:], value) }

// watchdog is how long a guest may run without an exit, before its test
// fails instead of waiting forever.
const watchdog = 30 * time.Second

// run runs the guest to its next exit of type T, and fails on any other.
func run[T kvm.Exit](t testing.TB, cpu *kvm.VCPU) T {
	t.Helper()
	if err := cpu.Bind(); err == nil { // else the test has bound it
		defer cpu.Unbind()
	}
	var barked atomic.Bool
	timer := time.AfterFunc(watchdog, func() {
		barked.Store(true)
		_ = cpu.Kick()
	})
	defer timer.Stop()
	for {
		exit, err := cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) && !barked.Load() {
			continue
		}
		must(t, err)
		e, ok := exit.(T)
		if !ok {
			regs, _ := cpu.Regs()
			t.Fatalf("exit %v at rip %#x, want a %T", exit, regs.RIP, e)
		}
		return e
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
