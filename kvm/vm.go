package kvm

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// VM is a virtual machine: memory slots, an interrupt controller, vCPUs.
// Its methods may be called at the same time and while its vCPUs run.
type VM struct {
	*descriptor
	runSize int

	mu    sync.Mutex
	slots map[uint32]MemorySlot // what the kernel was told; guarded by mu
}

// Close closes the VM's descriptor. The kernel keeps the VM itself until its
// vCPUs are closed as well, which is for whoever made them to do. Closing
// twice does nothing.
func (vm *VM) Close() error { return vm.close() }

// Check is System.Check for this VM, and the better answer where it depends
// on the kind of VM.
func (vm *VM) Check(c Capability) (int, error) { return vm.check(c) }

// Require is System.Require for this VM.
func (vm *VM) Require(caps ...Capability) error { return vm.require(caps) }

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	Cap   uint32
	Flags uint32
	Args  [4]uint64
	_     [64]uint8
}

func (e enableCap) String() string {
	return fmt.Sprintf("%v args %#x", Capability(e.Cap), e.Args)
}

// EnableCap turns on a capability that is off until asked for; api.rst,
// "Capabilities that can be enabled on VMs", tells what args mean.
func (vm *VM) EnableCap(c Capability, args ...uint64) error {
	return vm.enableCap(c, args)
}

func (d *descriptor) enableCap(c Capability, args []uint64) error {
	e := enableCap{Cap: uint32(c)}
	if len(args) > len(e.Args) {
		return &Error{Op: opEnableCap, Object: c.String(), Err: fmt.Errorf("%d args, at most %d", len(args), len(e.Args))}
	}
	copy(e.Args[:], args)
	if _, err := ioctl(d, reqEnableCap, &e); err != nil {
		return &Error{Op: opEnableCap, Object: c.String(), Err: d.because(err, c)}
	}
	return nil
}

// because turns an error of an ioctl that needs a capability into
// ErrNotSupported, if it is the capability that is missing. It is asked for
// only now, so that what works costs no second ioctl.
func (d *descriptor) because(err error, c Capability) error {
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	asked := d
	if d.vm != nil {
		asked = d.vm // a vCPU does not know KVM_CHECK_EXTENSION
	}
	if n, checkErr := asked.check(c); checkErr == nil && n == 0 {
		return &NotSupportedError{c}
	}
	return err
}

// SetTSSAddr gives KVM three pages of guest physical space, below 4 GiB and
// outside of all slots, for the task state segment that VMX without
// "unrestricted guest" runs real mode in. Call it before the first vCPU.
func (vm *VM) SetTSSAddr(gpa uint32) error {
	if _, err := ioctlValue(vm.descriptor, reqSetTSSAddr, uint64(gpa)); err != nil {
		return &Error{Op: opSetTSSAddr, Object: fmt.Sprintf("%#x", gpa), Err: err}
	}
	return nil
}

// SetIdentityMapAddr gives KVM one page, in the same way, for the page table
// that such a VMX runs unpaged code with. Call it before the first vCPU.
func (vm *VM) SetIdentityMapAddr(gpa uint64) error {
	if _, err := ioctl(vm.descriptor, reqSetIdentityMapAddr, &gpa); err != nil {
		return &Error{Op: opSetIdentityMap, Object: fmt.Sprintf("%#x", gpa), Err: err}
	}
	return nil
}

// SetBootCPU chooses the vCPU that starts running (the BSP); 0 if never
// called. Call it before the first vCPU.
func (vm *VM) SetBootCPU(id int) error {
	if _, err := ioctlValue(vm.descriptor, reqSetBootCPUID, uint64(id)); err != nil {
		return &Error{Op: opSetBootCPU, Object: fmt.Sprintf("vcpu %d", id), Err: err}
	}
	return nil
}

// CreateVCPU makes a vCPU. id is its APIC ID; 0 is the boot processor. With
// an in-kernel irqchip, make the irqchip first: a vCPU made before it has no
// local APIC.
func (vm *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctlValue(vm.descriptor, reqCreateVCPU, uint64(id))
	if err != nil {
		return nil, &Error{Op: opCreateVCPU, Object: itoa(uint64(id)), Err: err}
	}
	return newVCPU(vm, id, fd)
}
