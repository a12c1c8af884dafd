// User-mode has a guest with a kernel of a few dozen bytes, that runs a program at
// CPL 3, serves its system calls, and catches it at what it may not do.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/kvm"
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
	writeGuest(memory)
	writeTables(memory)
	if err := vm.SetMemory(kvm.MemorySlot{GPA: 0, Memory: memory}); err != nil {
		return err
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := enterKernel(cpu); err != nil {
		return err
	}
	return watch(cpu, memory)
}
