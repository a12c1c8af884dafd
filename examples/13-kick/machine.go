package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/kvm"
)

const (
	memorySize = 0x4000
	codeAt     = 0x1000

	port    = 0x50
	address = 0xD0000 // no memory lies there
)

// idle does what the others do, but for the kick.
func idle(n uint16) []byte {
	return []byte{
		0xb9, byte(n), byte(n >> 8), //       mov cx, n
		0xb0, 0x01, //                        mov al, 1
		0x90, 0x90, //                  next: nop; nop
		0xe2, 0xfc, //                        loop next
		0xf4, //                              hlt
	}
}

func portKicks(n uint16) []byte {
	return []byte{
		0xb9, byte(n), byte(n >> 8), //       mov cx, n
		0xb0, 0x01, //                        mov al, 1
		0xe6, port, //                  next: out port, al
		0xe2, 0xfc, //                        loop next
		0xf4, //                              hlt
	}
}

func memoryKicks(n uint16) []byte {
	return []byte{
		0xb8, 0x00, 0xd0, //                  mov ax, address / 16
		0x8e, 0xd8, //                        mov ds, ax
		0x31, 0xdb, //                        xor bx, bx
		0xb9, byte(n), byte(n >> 8), //       mov cx, n
		0x88, 0x07, //                  next: mov [bx], al
		0xe2, 0xfc, //                        loop next
		0xf4, //                              hlt
	}
}

type machine struct {
	sys      *kvm.System
	vm       *kvm.VM
	cpu      *kvm.VCPU
	memory   []byte
	doorbell *eventfd.FD

	exits int
}

func newMachine(t trial) (*machine, error) {
	m := &machine{}
	if err := m.setUp(t); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) setUp(t trial) (err error) {
	m.memory, err = unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	copy(m.memory[codeAt:], t.code(kicks))
	if m.sys, err = kvm.Open(); err != nil {
		return err
	}
	if m.vm, err = m.sys.CreateVM(); err != nil {
		return err
	}
	if err = m.vm.SetTSSAddr(0xfffb_d000); err != nil {
		return err
	}
	if err = m.vm.SetMemory(kvm.MemorySlot{Memory: m.memory}); err != nil {
		return err
	}
	if t.registered {
		if err = m.register(t.memory); err != nil {
			return err
		}
	}
	if m.cpu, err = m.vm.CreateVCPU(0); err != nil {
		return err
	}
	sregs, err := m.cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err = m.cpu.SetSregs(sregs); err != nil {
		return err
	}
	return m.cpu.SetRegs(kvm.Regs{RIP: codeAt, RFLAGS: 1 << 1})
}

// register has KVM turn the guest's write of one byte into a write to an eventfd.
func (m *machine) register(memory bool) (err error) {
	if m.doorbell, err = eventfd.New(); err != nil {
		return err
	}
	event := kvm.IOEvent{Addr: port, PIO: true, Len: 1, EventFD: m.doorbell.Fd()}
	if memory {
		event.Addr, event.PIO = address, false
	}
	return m.vm.SetIOEventFD(event)
}

// run runs the guest to its HLT. An exit for a kick is answered with nothing at all: the time is what the way to this
// process and back takes.
func (m *machine) run() (time.Duration, error) {
	start := time.Now()
	for {
		exit, err := m.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return 0, err
		}
		m.exits++
		switch exit.(type) {
		case *kvm.IO, *kvm.MMIO:
		case *kvm.HLT:
			return time.Since(start), nil
		default:
			return 0, fmt.Errorf("the guest made another exit: %v", exit)
		}
	}
}

func (m *machine) close() {
	if m.cpu != nil {
		m.cpu.Close()
	}
	if m.vm != nil {
		m.vm.Close()
	}
	if m.sys != nil {
		m.sys.Close()
	}
	if m.doorbell != nil {
		m.doorbell.Close()
	}
	if m.memory != nil {
		_ = unix.Munmap(m.memory)
	}
}
