package main

import (
	"errors"
	"fmt"

	"tandem/kvm"
)

// guest does one load or store each time that it is asked to.
type guest struct{ cpu *kvm.VCPU }

const (
	storeAt = 0x100
	fetchAt = 0x110
)

func (g *guest) load(code []byte) error {
	copy(code[storeAt:], []byte{
		0x8e, 0xdb, // mov ds, bx
		0x88, 0x04, // mov [si], al
		0xf4, // hlt
	})
	copy(code[fetchAt:], []byte{
		0x8e, 0xdb, // mov ds, bx
		0x8a, 0x04, // mov al, [si]
		0xf4, // hlt
	})
	sregs, err := g.cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	return g.cpu.SetSregs(sregs)
}

func (g *guest) store(gpa uint64, value byte) error {
	_, how, err := g.access(storeAt, gpa, value)
	if err == nil {
		fmt.Printf("  guest writes %#x to %#x%s\n", value, gpa, how)
	}
	return err
}

func (g *guest) fetch(gpa uint64) error {
	value, how, err := g.access(fetchAt, gpa, 0)
	if err == nil {
		fmt.Printf("  guest reads %#x from %#x%s\n", value, gpa, how)
	}
	return err
}

// access runs one routine of the guest. If the access came out as an exit,
// how says so; a read is answered with 0xff, as a PC's empty bus does.
func (g *guest) access(routine, gpa uint64, value byte) (result byte, how string, err error) {
	err = g.cpu.SetRegs(kvm.Regs{RIP: routine, RFLAGS: 1 << 1, RAX: uint64(value), RBX: gpa >> 4, RSI: gpa & 0xf})
	if err != nil {
		return 0, "", err
	}
	for {
		exit, err := g.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return 0, "", err
		}
		switch e := exit.(type) {
		case *kvm.MMIO:
			how = ", exit " + e.String()
			if !e.Write {
				e.Data[0] = 0xff
			}
		case *kvm.HLT:
			regs, err := g.cpu.Regs()
			return byte(regs.RAX), how, err
		default:
			return 0, "", fmt.Errorf("the guest made another exit: %v", e)
		}
	}
}
