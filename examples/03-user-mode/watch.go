package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tandem/kvm"
)

// watch runs the guest to its end. The program's system calls stay within the
// guest; what exits is the kernel's OUT.
func watch(cpu *kvm.VCPU, memory []byte) error {
	var said []byte
	for {
		exit, err := cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return err
		}
		switch e := exit.(type) {
		case *kvm.IO:
			switch e.Port {
			case consolePort:
				said = append(said, e.Data...)
				continue
			case gpPort:
				err = showFault(cpu, memory, "#GP")
			case pfPort:
				err = showFault(cpu, memory, "#PF")
			default:
				err = fmt.Errorf("unknown port: %v", e)
			}
			if err != nil {
				return err
			}
		case *kvm.HLT:
			fmt.Printf("program said %q\n", said)
			fmt.Printf("kernel's first byte is still %#x\n", memory[kernelAt])
			return nil
		default:
			return fmt.Errorf("the guest did something unexpected: %v", e)
		}
	}
}

// showFault reads the frame that the CPU pushed onto the kernel's stack:
// error code, RIP, CS, RFLAGS, RSP, SS (Intel SDM volume 3, "64-Bit Mode Stack Frame").
func showFault(cpu *kvm.VCPU, memory []byte, name string) error {
	regs, err := cpu.Regs()
	if err != nil {
		return err
	}
	const frameSize = 6 * 8
	if regs.RSP > uint64(len(memory)-frameSize) {
		return fmt.Errorf("the kernel's stack pointer is %#x", regs.RSP)
	}
	word := func(n uint64) uint64 { return binary.LittleEndian.Uint64(memory[regs.RSP+8*n:]) }
	code, rip, cs := word(0), word(1), word(2)
	fmt.Printf("%s at rip %#x, from CPL %d, to the kernel's stack at %#x", name, rip, cs&3, regs.RSP)
	if name == "#PF" {
		sregs, err := cpu.Sregs()
		if err != nil {
			return err
		}
		fmt.Printf(": %s of %#x", describePageFault(code), sregs.CR2)
	}
	fmt.Println()
	return nil
}

func describePageFault(code uint64) string {
	const protection, write, byUser = 1 << 0, 1 << 1, 1 << 2
	s := "kernel"
	if code&byUser != 0 {
		s = "user"
	}
	if code&write != 0 {
		s += " write"
	} else {
		s += " read"
	}
	if code&protection != 0 {
		return s + ", not permitted,"
	}
	return s + ", not present,"
}
