package kvm

import "fmt"

// irqFD is struct kvm_irqfd.
type irqFD struct {
	FD         uint32
	GSI        uint32
	Flags      uint32
	ResampleFD uint32
	_          [16]uint8
}

const (
	irqFDDeassign = 1 << 0
	irqFDResample = 1 << 1
)

func (i irqFD) String() string {
	s := fmt.Sprintf("fd %d gsi %d", i.FD, i.GSI)
	if i.Flags&irqFDResample != 0 {
		s += fmt.Sprintf(" resample fd %d", i.ResampleFD)
	}
	if i.Flags&irqFDDeassign != 0 {
		s += " deassign"
	}
	return s
}

// SetIRQFD makes each write to an eventfd an edge on a GSI, with no ioctl and
// no exit. The kernel holds the eventfd itself; the caller may close its
// descriptor when it needs it no more.
func (vm *VM) SetIRQFD(eventfd int, gsi uint32) error {
	return vm.setIRQFD(opSetIRQFD, irqFD{FD: uint32(eventfd), GSI: gsi}, CapIRQFD)
}

// SetResampleIRQFD is SetIRQFD for a level-triggered GSI: a write asserts the
// line; when the guest acknowledges the interrupt the kernel drops the line
// and writes to resample, whose reader writes to eventfd again if the device
// still wants service (CapIRQFDResample).
func (vm *VM) SetResampleIRQFD(eventfd, resample int, gsi uint32) error {
	return vm.setIRQFD(opSetIRQFD, irqFD{
		FD: uint32(eventfd), GSI: gsi, Flags: irqFDResample, ResampleFD: uint32(resample),
	}, CapIRQFDResample)
}

// UnsetIRQFD undoes SetIRQFD or SetResampleIRQFD for this pair. When it
// returns, no interrupt from the eventfd is under way any more.
func (vm *VM) UnsetIRQFD(eventfd int, gsi uint32) error {
	return vm.setIRQFD(opUnsetIRQFD, irqFD{FD: uint32(eventfd), GSI: gsi, Flags: irqFDDeassign}, CapIRQFD)
}

func (vm *VM) setIRQFD(op string, i irqFD, need Capability) error {
	if _, err := ioctl(vm.descriptor, reqIRQFD, &i); err != nil {
		return &Error{Op: op, Object: fmt.Sprintf("gsi %d", i.GSI), Err: vm.because(err, need)}
	}
	return nil
}

// IOEvent says which writes of the guest shall signal an eventfd instead of
// making an exit.
type IOEvent struct {
	Addr uint64 // a guest physical address, or a port if PIO
	PIO  bool
	// Len is the width of the write, 1, 2, 4 or 8 bytes. With 0 any width
	// matches (CapIOEventFDAnyLength), and DataMatch must be off.
	Len       uint32
	DataMatch bool // only writes of the value Data
	Data      uint64
	EventFD   int
}

func (e IOEvent) String() string {
	s := fmt.Sprintf("mmio %#x", e.Addr)
	if e.PIO {
		s = fmt.Sprintf("port %#x", e.Addr)
	}
	if e.Len == 0 {
		s += " any length"
	} else {
		s += fmt.Sprintf(" len %d", e.Len)
	}
	if e.DataMatch {
		s += fmt.Sprintf(" data %#x", e.Data)
	}
	return s
}

// ioEventFD is struct kvm_ioeventfd.
type ioEventFD struct {
	DataMatch uint64
	Addr      uint64
	Len       uint32
	FD        int32
	Flags     uint32
	_         [36]uint8
}

const (
	ioEventFDDataMatch = 1 << 0
	ioEventFDPIO       = 1 << 1
	ioEventFDDeassign  = 1 << 2
)

func (i ioEventFD) String() string {
	s := IOEvent{
		Addr: i.Addr, PIO: i.Flags&ioEventFDPIO != 0, Len: i.Len,
		DataMatch: i.Flags&ioEventFDDataMatch != 0, Data: i.DataMatch,
	}.String() + fmt.Sprintf(" fd %d", i.FD)
	if i.Flags&ioEventFDDeassign != 0 {
		s += " deassign"
	}
	return s
}

func (e IOEvent) abi() ioEventFD {
	i := ioEventFD{Addr: e.Addr, Len: e.Len, FD: int32(e.EventFD)}
	if e.PIO {
		i.Flags |= ioEventFDPIO
	}
	if e.DataMatch {
		i.Flags |= ioEventFDDataMatch
		i.DataMatch = e.Data
	}
	return i
}

// SetIOEventFD has the kernel signal e.EventFD for each write that matches.
// Reads still exit. The kernel holds the eventfd itself.
func (vm *VM) SetIOEventFD(e IOEvent) error {
	return vm.setIOEventFD(opSetIOEventFD, e, e.abi())
}

// UnsetIOEventFD undoes SetIOEventFD; e is the same as there.
func (vm *VM) UnsetIOEventFD(e IOEvent) error {
	i := e.abi()
	i.Flags |= ioEventFDDeassign
	return vm.setIOEventFD(opUnsetIOEventFD, e, i)
}

func (vm *VM) setIOEventFD(op string, e IOEvent, i ioEventFD) error {
	need := CapIOEventFD
	if e.Len == 0 {
		need = CapIOEventFDAnyLength
	}
	if _, err := ioctl(vm.descriptor, reqIOEventFD, &i); err != nil {
		return &Error{Op: op, Object: e.String(), Err: vm.because(err, need)}
	}
	return nil
}
