// Real-mode is the smallest virtual machine: one page of memory, one vCPU, a
// guest of 15 bytes that prints through a port.
package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

const (
	codeAt = 0x1000 // guest physical; the guest's only page begins here
	textAt = 0x1100
	port   = 0x3f8 // where a PC has its first serial port
)

// The guest. In real mode an address is segment*16 + offset; all segments
// here are 0.
var code = []byte{
	0xba, 0xf8, 0x03, //       mov dx, 0x3f8
	0xbe, 0x00, 0x11, //       mov si, textAt
	0xac,       //       next: lodsb         ; al = the byte at si, si++
	0x84, 0xc0, //             test al, al
	0x74, 0x03, //             jz done
	0xee,       //             out dx, al    ; the exit
	0xeb, 0xf8, //             jmp next
	0xf4, //             done: hlt
}

const text = "Hello from real mode.\x00"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	// 1. /dev/kvm, and a VM, which is nothing but an address space yet.
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	version, err := sys.APIVersion()
	if err != nil {
		return err
	}
	fmt.Printf("KVM API version %d\n", version)
	vm, err := sys.CreateVM()
	if err != nil {
		return err
	}
	defer vm.Close()

	// 2. Guest memory is memory of this process. It is mapped rather than made
	// by Go, as the kernel wants whole pages that stay where they are.
	memory, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(memory)
	copy(memory, code)
	copy(memory[textAt-codeAt:], text)
	if err := vm.SetMemory(kvm.MemorySlot{GPA: codeAt, Memory: memory}); err != nil {
		return err
	}

	// 3. A vCPU is as a CPU is after reset: in real mode, at 0xfffffff0, which
	// the hidden base of CS reaches. Base and selector 0 bring it down to IP.
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	fmt.Printf("after reset: cs %#x base %#x, cr0 %#x\n", sregs.CS.Selector, sregs.CS.Base, sregs.CR0)
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	const always1 = 1 << 1 // a bit of RFLAGS that is always set
	if err := cpu.SetRegs(kvm.Regs{RIP: codeAt, RFLAGS: always1}); err != nil {
		return err
	}

	// 4. Run until the guest halts. Each OUT comes out as an exit.
	var said []byte
	for exits := 1; ; exits++ {
		exit, err := cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue // a signal for this thread; the guest did nothing that concerns us
		}
		if err != nil {
			return err
		}
		switch e := exit.(type) {
		case *kvm.IO:
			if exits == 1 {
				fmt.Println("first exit:", e)
			}
			if e.Port == port && !e.In {
				said = append(said, e.Data...)
			}
		case *kvm.HLT:
			fmt.Println("last exit:", e)
			fmt.Printf("guest said %q in %d exits\n", said, exits)
			return nil
		default:
			return fmt.Errorf("the guest did something unexpected: %v", e)
		}
	}
}
