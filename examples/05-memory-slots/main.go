// Memory-slots shows what a guest's physical memory is made of: memory of the
// monitor, shown at one address or at two, read-only or logged, and moved.
package main

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

const pageSize = 0x1000

// Guest physical addresses. Slot 0 holds the guest's code at 0.
const (
	here  = 0x40000 // slot 1
	there = 0x60000 // slot 2, or slot 1 once it has moved
	hole  = 0x90000
)

const dataPages = 16

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	vm, err := sys.CreateVM()
	if err != nil {
		return err
	}
	defer vm.Close()
	code, err := newMemory(pageSize)
	if err != nil {
		return err
	}
	defer unix.Munmap(code)
	data, err := newMemory(dataPages * pageSize)
	if err != nil {
		return err
	}
	defer unix.Munmap(data)
	if err := vm.SetMemory(kvm.MemorySlot{Slot: 0, GPA: 0, Memory: code}); err != nil {
		return err
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	g := &guest{cpu: cpu}
	if err := g.load(code); err != nil {
		return err
	}
	for _, lesson := range []func(*kvm.VM, *guest, []byte) error{alias, readOnly, noMemory, dirtyLog, move} {
		if err := lesson(vm, g, data); err != nil {
			return err
		}
	}
	return nil
}

// alias: two slots of the same memory. Firmware and video memory of a PC are
// seen at two addresses in this way.
func alias(vm *kvm.VM, g *guest, data []byte) error {
	fmt.Println("Two slots, one memory:")
	for _, slot := range []kvm.MemorySlot{{Slot: 1, GPA: here, Memory: data}, {Slot: 2, GPA: there, Memory: data}} {
		if err := vm.SetMemory(slot); err != nil {
			return err
		}
	}
	if err := g.store(here, 0x41); err != nil {
		return err
	}
	if err := g.fetch(there); err != nil {
		return err
	}
	fmt.Printf("  the monitor sees %#x\n", data[0])
	return nil
}

// readOnly: a write comes out as an MMIO exit; ROM and flash are made of that.
func readOnly(vm *kvm.VM, g *guest, data []byte) error {
	fmt.Println("The second one read-only:")
	// This flag is for a slot's whole life: it has to go first.
	if err := vm.DeleteMemory(2); err != nil {
		return err
	}
	if err := vm.SetMemory(kvm.MemorySlot{Slot: 2, GPA: there, Flags: kvm.MemReadOnly, Memory: data}); err != nil {
		return err
	}
	if err := g.store(there, 0x42); err != nil {
		return err
	}
	return g.fetch(there)
}

// noMemory: no slot at all, so that reads come out as well.
func noMemory(_ *kvm.VM, g *guest, _ []byte) error {
	fmt.Println("No slot:")
	if err := g.store(hole, 0x43); err != nil {
		return err
	}
	return g.fetch(hole)
}

// dirtyLog: which pages has the guest written? Live migration copies a
// running guest with it, over and over, until little enough is left.
func dirtyLog(vm *kvm.VM, g *guest, data []byte) error {
	fmt.Println("The first one logged:")
	if err := vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: here, Flags: kvm.MemLogDirtyPages, Memory: data}); err != nil {
		return err
	}
	for _, page := range []uint64{1, 3, 5, 3} {
		if err := g.store(here+page*pageSize, byte(page)); err != nil {
			return err
		}
	}
	data[7*pageSize] = 7
	fmt.Println("  the monitor writes to its page 7")
	for range 2 {
		log, err := vm.DirtyLog(1)
		if err != nil {
			return err
		}
		fmt.Println("  dirty since the last look:", slices.Collect(log.Pages()))
	}
	return nil
}

// move: the same memory at another address, as a PCI device's BAR moves.
func move(vm *kvm.VM, g *guest, data []byte) error {
	fmt.Println("The first one moved to where the second was:")
	if err := vm.DeleteMemory(2); err != nil {
		return err
	}
	if err := vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: there, Memory: data}); err != nil {
		return err
	}
	if err := g.fetch(there + 5*pageSize); err != nil {
		return err
	}
	return g.fetch(here + 5*pageSize)
}

func newMemory(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
}
