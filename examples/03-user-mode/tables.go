package main

import (
	"encoding/binary"

	"tandem/kvm"
)

// The tables that tell the CPU who may do what: page tables, GDT, TSS, IDT.

// Bits of a page table's entry. An address is the user's if the U bit is set
// at every level.
const (
	present  = 1 << 0
	writable = 1 << 1
	user     = 1 << 2
)

// Selectors: index into the GDT, times 8, plus the privilege asked for.
const (
	kernelCode = 1 << 3
	kernelData = 2 << 3
	userData   = 3<<3 | 3
	userCode   = 4<<3 | 3
	tss        = 5 << 3
)

func writeTables(memory []byte) {
	put := func(at int, value uint64) { binary.LittleEndian.PutUint64(memory[at:], value) }

	put(pml4At, pdptAt|present|writable|user)
	put(pdptAt, pdAt|present|writable|user)
	put(pdAt, ptAt|present|writable|user)
	for page := 0; page < memorySize; page += 0x1000 {
		flags := uint64(present | writable)
		if page >= userAt && page < userTop {
			flags |= user
		}
		put(ptAt+page>>12*8, uint64(page)|flags)
	}

	// Segments in 64-bit mode have no base and no limit that count: what is
	// left of a descriptor is type, DPL and the L bit.
	put(gdtAt+1*8, 0x00af_9b00_0000_ffff) // code, DPL 0, L
	put(gdtAt+2*8, 0x00cf_9300_0000_ffff) // data, DPL 0
	put(gdtAt+3*8, 0x00cf_f300_0000_ffff) // data, DPL 3
	put(gdtAt+4*8, 0x00af_fb00_0000_ffff) // code, DPL 3, L
	put(gdtAt+5*8, 0x0000_8b00_0000_0067|tssAt<<16)
	put(gdtAt+6*8, 0)

	// The TSS says which stack an interrupt from user mode gets.
	put(tssAt+4, kernelTop)

	gate := func(vector int, handler uint64) {
		const interruptGate = 0x8e00
		put(idtAt+vector*16, handler&0xffff|kernelCode<<16|interruptGate<<32|handler>>16<<48)
		put(idtAt+vector*16+8, 0)
	}
	gate(6, systemCallAt)
	gate(13, gpHandlerAt)
	gate(14, pfHandlerAt)
}

// enterKernel sets the vCPU to the kernel's start, at CPL 0.
func enterKernel(cpu *kvm.VCPU) error {
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	const (
		cr0PE, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 5, 1 << 16, 1 << 31

		cr4PAE           = 1 << 5
		eferLME, eferLMA = 1 << 8, 1 << 10
	)
	sregs.CR3 = pml4At
	sregs.CR4 |= cr4PAE
	sregs.EFER |= eferLME | eferLMA
	sregs.CR0 |= cr0PE | cr0NE | cr0WP | cr0PG
	sregs.CS = kvm.Segment{Limit: 0xffff_ffff, Selector: kernelCode, Typ: 11, Present: 1, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: 0xffff_ffff, Selector: kernelData, Typ: 3, Present: 1, S: 1, DB: 1, G: 1}
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	sregs.TR = kvm.Segment{Base: tssAt, Limit: 0x67, Selector: tss, Typ: 11, Present: 1}
	sregs.GDT = kvm.Descriptor{Base: gdtAt, Limit: 7*8 - 1}
	sregs.IDT = kvm.Descriptor{Base: idtAt, Limit: 15*16 - 1}
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	return cpu.SetRegs(kvm.Regs{RIP: kernelAt, RSP: kernelTop, RFLAGS: 1 << 1})
}
