package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

const (
	memorySize   = 0x4000
	codeAt       = 0x1000
	handlerAt    = 0x1080
	answeredAt   = 0x2000 // set by the handler
	interruptsAt = 0x2002 // counted by the handler
	stackTop     = 0x4000

	requests = 100
	doorbell = 0x50 // the device's port: a write is a request
	donePort = 0x10
	gsi      = 5 // the device's interrupt
)

// driver makes requests and sleeps until each is answered.
var driver = []byte{
	0xb0, 0x11, 0xe6, 0x20, //             out 0x20, 0x11: the PIC, edge triggered
	0xb0, 0x20, 0xe6, 0x21, //             out 0x21, 0x20: GSI n is vector 0x20 + n
	0xb0, 0x04, 0xe6, 0x21, //             out 0x21, 4:    the slave is at 2
	0xb0, 0x01, 0xe6, 0x21, //             out 0x21, 1:    8086 mode
	0xb0, 0xdf, 0xe6, 0x21, //             out 0x21, 0xdf: GSI 5 alone
	0xb9, 0x64, 0x00, //                   mov cx, requests
	0xfa,                         // next: cli
	0xc6, 0x06, 0x00, 0x20, 0x00, //       mov byte [answeredAt], 0
	0xb0, 0x01, //                         mov al, 1
	0xe6, doorbell, //                     out doorbell, al
	0x80, 0x3e, 0x00, 0x20, 0x00, // wait: cmp byte [answeredAt], 0
	0x75, 0x05, //                         jne served
	0xfb,       //                         sti      ; takes effect after the next instruction:
	0xf4,       //                         hlt      ; an interrupt cannot come in between
	0xfa,       //                         cli
	0xeb, 0xf4, //                         jmp wait
	0xfb,       //                 served: sti
	0xe2, 0xe7, //                         loop next
	0xe6, donePort, //                     out donePort, al
}

// haltAt is where the driver's HLT is.
var haltAt = codeAt + uint16(bytes.IndexByte(driver, 0xf4))

// handler notes the answer. If an interrupt came between STI and HLT after all, it lets the driver go on behind the HLT,
// which nothing would end. No processor does that; QEMU 7.2's does, as it emulates SVM: an interrupt of the host's at
// that place ends KVM_RUN, and is not told of as one in the shadow of an STI.
var handler = []byte{
	0x55,       //       push bp
	0x89, 0xe5, //       mov bp, sp
	0x81, 0x7e, 0x02, byte(haltAt), byte(haltAt >> 8), // cmp word [bp+2], haltAt: where it returns to
	0x75, 0x03, //       jne elsewhere
	0xff, 0x46, 0x02, // inc word [bp+2]
	0x5d,                         // elsewhere: pop bp
	0x50,                         // push ax
	0xc6, 0x06, 0x00, 0x20, 0x01, // mov byte [answeredAt], 1
	0xff, 0x06, 0x02, 0x20, //       inc word [interruptsAt]
	0xb0, 0x20, 0xe6, 0x20, //       out 0x20, 0x20: end of interrupt
	0x58, // pop ax
	0xcf, // iret
}

type machine struct {
	sys    *kvm.System
	vm     *kvm.VM
	cpu    *kvm.VCPU
	memory []byte

	request func() error // called for a request that comes as an exit
	exits   int
}

func newMachine() (*machine, error) {
	m := &machine{}
	if err := m.setUp(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) setUp() (err error) {
	m.memory, err = unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	copy(m.memory[codeAt:], driver)
	copy(m.memory[handlerAt:], handler)
	const vector = 0x20 + gsi
	binary.LittleEndian.PutUint32(m.memory[4*vector:], handlerAt)
	if m.sys, err = kvm.Open(); err != nil {
		return err
	}
	if m.vm, err = m.sys.CreateVM(); err != nil {
		return err
	}
	if err = m.vm.SetTSSAddr(0xfffb_d000); err != nil {
		return err
	}
	if err = m.vm.CreateIRQChip(); err != nil { // irqfd needs one in the kernel
		return err
	}
	if err = m.vm.SetMemory(kvm.MemorySlot{Memory: m.memory}); err != nil {
		return err
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
	return m.cpu.SetRegs(kvm.Regs{RIP: codeAt, RSP: stackTop, RFLAGS: 1 << 1})
}

// run runs the guest until it says that it is done. While it sleeps in HLT,
// it does so in the kernel, as the irqchip is there: that is no exit.
func (m *machine) run() error {
	for {
		exit, err := m.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return err
		}
		m.exits++
		e, ok := exit.(*kvm.IO)
		switch {
		case ok && e.Port == donePort:
			return nil
		case ok && e.Port == doorbell && m.request != nil:
			if err := m.request(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the guest made another exit: %v", exit)
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
	if m.memory != nil {
		unix.Munmap(m.memory)
	}
}
