package kvm_test

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

// A second slot for the tests below, where DS:0 of storeGuest points to.
const (
	slot2GPA   = 0x40000
	slot2Pages = 130 // more than two words of a bitmap, and not whole ones
)

// storeGuest writes a byte to each of the pages in BX, CX and DX (as segments) and
// halts, over and over.
var storeGuest = []byte{
	0x8e, 0xdb, // mov ds, bx
	0xc6, 0x06, 0, 0, 1, // mov byte [0], 1
	0x8e, 0xd9, // mov ds, cx
	0xc6, 0x06, 0, 0, 2, // mov byte [0], 2
	0x8e, 0xda, // mov ds, dx
	0xc6, 0x06, 0, 0, 3, // mov byte [0], 3
	0xf4,       // hlt
	0xeb, 0xe8, // jmp to the start
}

// newStoreGuest has a second slot, and stores to three of its pages.
func newStoreGuest(t *testing.T, flags kvm.MemoryFlags, pages [3]uint64) (*guest, []byte) {
	t.Helper()
	g := newGuest(t, storeGuest)
	memory := mapMemory(t, slot2Pages*os.Getpagesize())
	must(t, g.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: slot2GPA, Flags: flags, Memory: memory}))
	segment := func(page uint64) uint64 { return (slot2GPA + page*uint64(os.Getpagesize())) >> 4 }
	must(t, g.cpu.SetRegs(kvm.Regs{
		RIP: codeAt, RFLAGS: 2,
		RBX: segment(pages[0]), RCX: segment(pages[1]), RDX: segment(pages[2]),
	}))
	return g, memory
}

func TestDirtyLog(t *testing.T) {
	pages := [3]uint64{0, 64, slot2Pages - 1}
	g, memory := newStoreGuest(t, kvm.MemLogDirtyPages, pages)
	for round := range 2 {
		run[*kvm.HLT](t, g.cpu)
		log, err := g.vm.DirtyLog(1)
		must(t, err)
		if got := slices.Collect(log.Pages()); !slices.Equal(got, pages[:]) {
			t.Errorf("round %d: dirty pages %v, want %v", round, got, pages)
		}
		if log.Count() != 3 || !log.Has(64) || log.Has(65) || log.Has(1<<40) {
			t.Errorf("round %d: Count %d, Has(64) %v, Has(65) %v", round, log.Count(), log.Has(64), log.Has(65))
		}
		if log, err = g.vm.DirtyLog(1); err != nil || log.Count() != 0 {
			t.Errorf("round %d: second log has %d pages, %v, want none", round, log.Count(), err)
		}
	}
	if memory[64*os.Getpagesize()] != 2 {
		t.Error("the guest's write is not in memory")
	}
}

func TestManualDirtyLog(t *testing.T) {
	pages := [3]uint64{0, 64, 65}
	g, _ := newStoreGuest(t, 0, pages)
	must(t, g.vm.EnableManualDirtyLog())
	// Logging starts when the flag is set, with all pages clean.
	memory := mapMemory(t, slot2Pages*os.Getpagesize())
	must(t, g.vm.DeleteMemory(1))
	must(t, g.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: slot2GPA, Flags: kvm.MemLogDirtyPages, Memory: memory}))
	run[*kvm.HLT](t, g.cpu)
	for range 2 { // reading does not clear
		log, err := g.vm.DirtyLog(1)
		must(t, err)
		if got := slices.Collect(log.Pages()); !slices.Equal(got, pages[:]) {
			t.Fatalf("dirty pages %v, want %v", got, pages)
		}
	}
	must(t, g.vm.ClearDirtyLog(1, 64, 64, kvm.DirtyBitmap{1 << 1})) // page 65
	log, err := g.vm.DirtyLog(1)
	must(t, err)
	if got := slices.Collect(log.Pages()); !slices.Equal(got, []uint64{0, 64}) {
		t.Errorf("dirty pages %v after clearing 65, want 0 and 64", got)
	}
	run[*kvm.HLT](t, g.cpu)
	log, err = g.vm.DirtyLog(1)
	must(t, err)
	if !log.Has(65) {
		t.Error("page 65 is not dirty after the guest wrote it again")
	}
	if err := g.vm.ClearDirtyLog(1, 0, 65, kvm.DirtyBitmap{0}); err == nil {
		t.Error("ClearDirtyLog took a bitmap that is shorter than its pages")
	}
}

func TestReadOnlySlotExitsOnAWrite(t *testing.T) {
	g, memory := newStoreGuest(t, kvm.MemReadOnly, [3]uint64{0, 1, 2})
	for i := range 3 {
		e := run[*kvm.MMIO](t, g.cpu)
		if want := uint64(slot2GPA + i*os.Getpagesize()); !e.Write || e.GPA != want || len(e.Data) != 1 || e.Data[0] != byte(i+1) {
			t.Errorf("exit %v, want a write of %d to %#x", e, i+1, want)
		}
	}
	run[*kvm.HLT](t, g.cpu)
	if memory[0] != 0 {
		t.Error("the guest wrote to read-only memory")
	}
}

func TestDeletedSlotIsGone(t *testing.T) {
	g, memory := newStoreGuest(t, 0, [3]uint64{0, 0, 0})
	run[*kvm.HLT](t, g.cpu)
	if memory[0] != 3 {
		t.Errorf("guest stored %d, want 3", memory[0])
	}
	must(t, g.vm.DeleteMemory(1))
	if e := run[*kvm.MMIO](t, g.cpu); e.GPA != slot2GPA {
		t.Errorf("exit %v, want a write to %#x", e, slot2GPA)
	}
	_, err := g.vm.DirtyLog(1)
	if err == nil {
		t.Error("DirtyLog of a deleted slot did not fail")
	}
	wantError(t, g.vm.DeleteMemory(1), unix.EINVAL, "kvm: delete memory slot 1: invalid argument")
	if err := g.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: slot2GPA}); err == nil {
		t.Error("SetMemory without memory did not fail")
	}
}

func TestTranslate(t *testing.T) {
	g := newGuest(t, nil)
	g.longMode(t)
	in, err := g.cpu.Translate(0x1234)
	must(t, err)
	out, err := g.cpu.Translate(1 << 30)
	must(t, err)
	if in.Valid != 1 || in.PhysicalAddress != 0x1234 || out.Valid != 0 {
		t.Errorf("Translate = %+v, %+v", in, out)
	}
}
