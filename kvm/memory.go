package kvm

import (
	"fmt"
	"strings"
)

// MemoryFlags are the KVM_MEM_ flags of a slot.
type MemoryFlags uint32

const (
	// MemLogDirtyPages makes KVM keep a bitmap of the pages that the guest
	// wrote; see VM.DirtyLog.
	MemLogDirtyPages MemoryFlags = 1 << 0
	// MemReadOnly makes a guest's write an MMIO exit (CapReadOnlyMem).
	MemReadOnly MemoryFlags = 1 << 1
)

func (f MemoryFlags) String() string {
	var names []string
	if f&MemLogDirtyPages != 0 {
		names = append(names, "log dirty pages")
	}
	if f&MemReadOnly != 0 {
		names = append(names, "read-only")
	}
	if rest := f &^ (MemLogDirtyPages | MemReadOnly); rest != 0 {
		names = append(names, fmt.Sprintf("flags %#x", uint32(rest)))
	}
	return strings.Join(names, ", ")
}

// MemorySlot is a range of guest physical memory and what backs it here.
type MemorySlot struct {
	Slot  uint32 // the caller's number for it, 0 to CapNrMemSlots-1
	GPA   uint64 // where the guest sees it; a multiple of the page size
	Flags MemoryFlags
	// Memory is page-aligned and a whole number of pages: it comes from mmap,
	// never from Go's heap. It must stay mapped until the slot is deleted or
	// all descriptors of the VM are closed.
	Memory []byte
}

// userspaceMemoryRegion is struct kvm_userspace_memory_region.
type userspaceMemoryRegion struct {
	Slot          uint32
	Flags         uint32
	GuestPhysAddr uint64
	MemorySize    uint64
	UserspaceAddr uint64
}

func (r userspaceMemoryRegion) String() string {
	if r.MemorySize == 0 {
		return fmt.Sprintf("slot %d delete", r.Slot)
	}
	s := fmt.Sprintf("slot %d gpa %#x size %s hva %#x", r.Slot, r.GuestPhysAddr, size(r.MemorySize), r.UserspaceAddr)
	if r.Flags != 0 {
		s += " " + MemoryFlags(r.Flags).String()
	}
	return s
}

// SetMemory adds a slot, or changes the flags or address of one that has the
// same size. Slots may not overlap.
func (vm *VM) SetMemory(slot MemorySlot) error {
	object := fmt.Sprintf("slot %d", slot.Slot)
	if len(slot.Memory) == 0 {
		return &Error{Op: opSetMemory, Object: object, Err: fmt.Errorf("no memory; use DeleteMemory to remove a slot")}
	}
	vm.mu.Lock()
	defer vm.mu.Unlock()
	region := userspaceMemoryRegion{
		Slot:          slot.Slot,
		Flags:         uint32(slot.Flags),
		GuestPhysAddr: slot.GPA,
		MemorySize:    uint64(len(slot.Memory)),
		UserspaceAddr: addressOf(slot.Memory),
	}
	if _, err := ioctl(vm.descriptor, reqSetUserMemoryRegion, &region); err != nil {
		if slot.Flags&MemReadOnly != 0 {
			err = vm.because(err, CapReadOnlyMem)
		}
		return &Error{Op: opSetMemory, Object: object, Err: err}
	}
	vm.slots[slot.Slot] = slot
	return nil
}

// DeleteMemory removes a slot. Its memory may be unmapped afterwards.
func (vm *VM) DeleteMemory(slot uint32) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	region := userspaceMemoryRegion{Slot: slot}
	if _, err := ioctl(vm.descriptor, reqSetUserMemoryRegion, &region); err != nil {
		return &Error{Op: opDeleteMemory, Object: fmt.Sprintf("slot %d", slot), Err: err}
	}
	delete(vm.slots, slot)
	return nil
}
