package kvm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// VCPU is a virtual processor. Run is for one thread at a time, and the state
// (registers and so on) is touched only while Run is not under way: the
// kernel takes the vCPU's lock for each ioctl, so a call from elsewhere waits
// for the next exit, maybe forever. Kick and Close are for any goroutine at
// any time.
type VCPU struct {
	*descriptor
	id  int
	vm  *VM
	run *runPage // struct kvm_run, shared with the kernel
	mem []byte   // the whole mapping that run is the head of

	leaves atomic.Int64 // how many entries SetCPUID was given

	exits exits // Run's results live here, so that an exit allocates nothing

	thread sync.Mutex // guards tid; see Bind and Kick
	tid    int        // 0 when not bound
}

func newVCPU(vm *VM, id, fd int) (*VCPU, error) {
	mem, err := unix.Mmap(fd, 0, vm.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, &Error{Op: opMapRun, Object: fmt.Sprintf("vcpu %d", id), Err: err}
	}
	v := &VCPU{
		descriptor: newDescriptor(fd, fmt.Sprintf("vcpu %d", id), vm.trace),
		id:         id,
		vm:         vm,
		run:        runPageOf(mem),
		mem:        mem,
	}
	v.descriptor.vm = vm.descriptor
	v.release = func() { _ = unix.Munmap(mem) }
	return v, nil
}

// ID is the number that the vCPU was made with, its APIC ID.
func (v *VCPU) ID() int { return v.id }

// Close gives the vCPU back. If Run is under way on another thread the
// descriptor and kvm_run go when it returns; Kick it out first. Slices that
// exits handed out (IO.Data, MMIO.Data) must not be used after Close. Closing
// twice does nothing.
func (v *VCPU) Close() error { return v.close() }

// EnableCap turns on a capability of the vCPU; api.rst, "Capabilities that
// can be enabled on vCPUs", tells what args mean.
func (v *VCPU) EnableCap(c Capability, args ...uint64) error {
	return v.enableCap(c, args)
}
