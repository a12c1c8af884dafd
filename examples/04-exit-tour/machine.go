package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

// Guest physical addresses.
const (
	memorySize = 0x20000
	codeAt     = 0x1000
	handlerAt  = 0x1800 // in protected mode all vectors lead here
	gdtAt      = 0x2000
	idtAt      = 0x3000
	stackTop   = 0x8000
	outside    = 0x90000 // no memory is there
)

// mode is what the guest starts in: as after reset, or protected mode with
// flat segments and no paging.
type mode int

const (
	realMode mode = iota
	protectedMode
)

type machine struct {
	vm     *kvm.VM
	cpu    *kvm.VCPU
	memory []byte
	logged []byte // a second slot, for the stop that needs one
}

func newMachine(sys *kvm.System, s stop) (*machine, error) {
	m := &machine{}
	if err := m.setUp(sys, s); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) setUp(sys *kvm.System, s stop) (err error) {
	if m.memory, err = unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS); err != nil {
		return err
	}
	m.writeGuest(s)
	if m.vm, err = sys.CreateVM(); err != nil {
		return err
	}
	if s.needs != 0 {
		if err = m.vm.Require(s.needs); err != nil {
			return err
		}
	}
	if err = m.vm.SetTSSAddr(0xfffb_d000); err != nil {
		return err
	}
	if err = m.vm.SetMemory(kvm.MemorySlot{GPA: 0, Memory: m.memory}); err != nil {
		return err
	}
	if s.beforeCPU != nil {
		if err = s.beforeCPU(m); err != nil {
			return err
		}
	}
	if m.cpu, err = m.vm.CreateVCPU(0); err != nil {
		return err
	}
	if err = m.start(s.mode); err != nil {
		return err
	}
	if s.before != nil {
		return s.before(m)
	}
	return nil
}

func (m *machine) close() {
	if m.cpu != nil {
		m.cpu.Unbind()
		m.cpu.Close()
	}
	if m.vm != nil {
		m.vm.Close()
	}
	if m.memory != nil {
		unix.Munmap(m.memory)
	}
	if m.logged != nil {
		unix.Munmap(m.logged)
	}
}

// writeGuest leads every exception to a HLT: in real mode by the IVT at 0, in
// protected mode by the IDT.
func (m *machine) writeGuest(s stop) {
	copy(m.memory[codeAt:], s.code)
	copy(m.memory[handlerAt:], []byte{0xf4}) // hlt
	if s.mode == realMode {
		for vector := range 256 {
			binary.LittleEndian.PutUint32(m.memory[4*vector:], handlerAt)
		}
		return
	}
	binary.LittleEndian.PutUint64(m.memory[gdtAt+8:], 0x00cf_9b00_0000_ffff)
	binary.LittleEndian.PutUint64(m.memory[gdtAt+16:], 0x00cf_9300_0000_ffff)
	for vector := range 256 {
		const presentInterruptGate = 0x8e00
		binary.LittleEndian.PutUint64(m.memory[idtAt+8*vector:], handlerAt|8<<16|presentInterruptGate<<32)
	}
}

func (m *machine) start(mode mode) error {
	sregs, err := m.cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if mode == protectedMode {
		sregs.CR0 |= 1
		sregs.CS = kvm.Segment{Limit: 0xffff_ffff, Selector: 8, Typ: 11, Present: 1, S: 1, DB: 1, G: 1}
		data := kvm.Segment{Limit: 0xffff_ffff, Selector: 16, Typ: 3, Present: 1, S: 1, DB: 1, G: 1}
		sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
		sregs.GDT = kvm.Descriptor{Base: gdtAt, Limit: 23}
		sregs.IDT = kvm.Descriptor{Base: idtAt, Limit: 256*8 - 1}
	}
	if err := m.cpu.SetSregs(sregs); err != nil {
		return err
	}
	return m.cpu.SetRegs(kvm.Regs{RIP: codeAt, RSP: stackTop, RFLAGS: 1 << 1})
}

// enterLongModeBadly sets CS.L and CS.D both, which no CPU enters: VMX and
// SVM check it on each VM entry (Intel SDM volume 3, "Checks on Guest Segment
// Registers"; AMD APM volume 2, "Canonicalization and Consistency Checks").
func (m *machine) enterLongModeBadly() error {
	const pml4At, pdptAt, pdAt = 0x9000, 0xa000, 0xb000
	binary.LittleEndian.PutUint64(m.memory[pml4At:], pdptAt|3)
	binary.LittleEndian.PutUint64(m.memory[pdptAt:], pdAt|3)
	binary.LittleEndian.PutUint64(m.memory[pdAt:], 0|3|1<<7)
	sregs, err := m.cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CR3 = pml4At
	sregs.CR4 |= 1 << 5
	sregs.EFER |= 1<<8 | 1<<10
	sregs.CR0 |= 1 << 31
	sregs.CS.L = 1
	return m.cpu.SetSregs(sregs)
}

// giveCPUID gives the guest the host's CPUID with changes.
func (m *machine) giveCPUID(change func(leaves []kvm.CPUIDEntry)) error {
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	leaves, err := sys.SupportedCPUID()
	if err != nil {
		return err
	}
	change(leaves)
	return m.cpu.SetCPUID(leaves)
}

// addLoggedMemory adds a slot, at its own size, whose pages the kernel logs.
func (m *machine) addLoggedMemory(size uint64) (err error) {
	m.logged, err = unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	return m.vm.SetMemory(kvm.MemorySlot{Slot: 1, GPA: size, Flags: kvm.MemLogDirtyPages, Memory: m.logged})
}
