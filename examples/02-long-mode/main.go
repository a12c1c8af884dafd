// Long-mode is the first lesson's guest in 64-bit mode, at addresses that are
// not those of its memory: the page tables are made by hand.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

// Guest physical addresses.
const (
	memorySize = 0x8000
	codeAt     = 0x1000
	textAt     = 0x2000
	pml4At     = 0x3000
	lowPDPTAt  = 0x4000
	lowPDAt    = 0x5000
	highPDPTAt = 0x6000
	highPDAt   = 0x7000
)

// highBase is a linear address that shows what paging does: no guest memory is
// there, yet what is at textAt is seen at highBase + textAt.
const highBase = 0x7f00_0000_0000

var code = []byte{
	0x66, 0xba, 0xf8, 0x03, //                           mov dx, 0x3f8
	0x48, 0xbe, 0x00, 0x20, 0, 0, 0x00, 0x7f, 0, 0, //   mov rsi, highBase + textAt
	0xac,       //                                 next: lodsb
	0x84, 0xc0, //                                       test al, al
	0x74, 0x03, //                                       jz done
	0xee,       //                                       out dx, al
	0xeb, 0xf8, //                                       jmp next
	0xf4, //                                       done: hlt
}

const text = "Hello from long mode.\x00"

// Bits of an entry in a page table, Intel SDM volume 3, "4-Level Paging".
const (
	present  = 1 << 0
	writable = 1 << 1
	accessed = 1 << 5
	large    = 1 << 7 // the entry maps 2 MiB and is the last of the walk
)

// Bits that make long mode, in the order in which a kernel sets them.
const (
	cr4PAE  = 1 << 5  // entries of 64 bits
	eferLME = 1 << 8  // long mode, once there is paging
	cr0PE   = 1 << 0  // protected mode
	cr0PG   = 1 << 31 // paging
	eferLMA = 1 << 10 // what the CPU says when all of the above is so
)

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
	memory, err := unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(memory)
	copy(memory[codeAt:], code)
	copy(memory[textAt:], text)
	writeTables(memory)
	if err := vm.SetMemory(kvm.MemorySlot{GPA: 0, Memory: memory}); err != nil {
		return err
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := enterLongMode(cpu); err != nil {
		return err
	}
	for _, linear := range []uint64{codeAt, highBase + textAt, 1 << 30} {
		if err := show(cpu, memory, linear); err != nil {
			return err
		}
	}
	said, err := listen(cpu)
	if err != nil {
		return err
	}
	fmt.Printf("guest said %q\n", said)
	return nil
}

// writeTables maps the first 2 MiB twice: at 0, for the code, and at highBase.
//
//	PML4[0]   -> PDPT[0] -> PD[0] -> 0
//	PML4[254] -> PDPT[0] -> PD[0] -> 0
func writeTables(memory []byte) {
	put := func(table, index int, entry uint64) {
		binary.LittleEndian.PutUint64(memory[table+8*index:], entry)
	}
	put(pml4At, 0, lowPDPTAt|present|writable)
	put(lowPDPTAt, 0, lowPDAt|present|writable)
	put(lowPDAt, 0, 0|present|writable|large)

	put(pml4At, highBase>>39&511, highPDPTAt|present|writable)
	put(highPDPTAt, highBase>>30&511, highPDAt|present|writable)
	put(highPDAt, highBase>>21&511, 0|present|large) // not writable up there
}

// enterLongMode sets at once what a kernel does in steps. The descriptors
// are KVM's to hold: as long as the guest loads no segment there need not be
// a GDT in its memory.
func enterLongMode(cpu *kvm.VCPU) error {
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CR3 = pml4At
	sregs.CR4 |= cr4PAE
	sregs.EFER |= eferLME | eferLMA
	sregs.CR0 |= cr0PE | cr0PG
	const codeExecuteReadAccessed, dataReadWriteAccessed = 11, 3
	sregs.CS = kvm.Segment{Limit: 0xffff_ffff, Selector: 1 << 3, Typ: codeExecuteReadAccessed, Present: 1, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: 0xffff_ffff, Selector: 2 << 3, Typ: dataReadWriteAccessed, Present: 1, S: 1, DB: 1, G: 1}
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	return cpu.SetRegs(kvm.Regs{RIP: codeAt, RFLAGS: 1 << 1})
}

// show walks the tables for an address as the CPU would, and asks KVM to do
// the same.
func show(cpu *kvm.VCPU, memory []byte, linear uint64) error {
	fmt.Printf("%#x:", linear)
	table := uint64(pml4At)
	for _, level := range []struct {
		name  string
		shift uint
	}{{"PML4", 39}, {"PDPT", 30}, {"PD", 21}} {
		index := linear >> level.shift & 511
		entry := binary.LittleEndian.Uint64(memory[table+8*index:])
		entry &^= accessed // set by whoever walked here before
		fmt.Printf(" %s[%d]=%#x", level.name, index, entry)
		if entry&present == 0 {
			break
		}
		table = entry &^ 0xfff
	}
	t, err := cpu.Translate(linear)
	if err != nil {
		return err
	}
	if t.Valid == 0 {
		fmt.Println(" -> nothing, says KVM")
		return nil
	}
	fmt.Printf(" -> %#x, says KVM\n", t.PhysicalAddress)
	return nil
}

// listen runs the guest until it halts, and returns what it wrote to ports.
func listen(cpu *kvm.VCPU) ([]byte, error) {
	var said []byte
	for {
		exit, err := cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch e := exit.(type) {
		case *kvm.IO:
			said = append(said, e.Data...)
		case *kvm.HLT:
			return said, nil
		default:
			return nil, fmt.Errorf("the guest did something unexpected: %v", e)
		}
	}
}
