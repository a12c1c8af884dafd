package testenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// The kvm package is not used here, though it does all this: its own tests import this one.

const (
	kvmGetAPIVersion   = 0xae00
	kvmCreateVM        = 0xae01
	kvmGetVCPUMmapSize = 0xae04
	kvmCreateVCPU      = 0xae41
	kvmSetMemory       = 0x4020ae46
	kvmRun             = 0xae80
	kvmSetRegs         = 0x4090ae82
	kvmGetSregs        = 0x8138ae83
	kvmSetSregs        = 0x4138ae84

	kvmExitHLT = 5
)

// ioctl starts again when a signal interrupted it, such as those of the Go scheduler: KVM_CREATE_VM, too, may return
// EINTR, as it waits for a thread of the kernel's that it made.
func ioctl(f *os.File, request, argument uintptr) (uintptr, error) {
	result, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, argument)
	for errno == unix.EINTR {
		result, _, errno = unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, argument)
	}
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0, fmt.Errorf("%s: ioctl %#x: %w", f.Name(), request, errno)
	}
	return result, nil
}

// ioctlObject is ioctl for an argument in memory. The conversion stands in the call itself: that alone keeps the
// object where it is until the kernel is done with it (unsafe.Pointer, rule 4).
func ioctlObject[T any](f *os.File, request uintptr, object *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(object)))
	for errno == unix.EINTR {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(object)))
	}
	runtime.KeepAlive(f)
	if errno != 0 {
		return fmt.Errorf("%s: ioctl %#x: %w", f.Name(), request, errno)
	}
	return nil
}

// tinyGuest is one vCPU in real mode and one page of memory, at guest physical 0.
type tinyGuest struct {
	vm, vcpu *os.File
	code     []byte // the guest's page
	state    []byte // struct kvm_run
	program  int    // its length
}

func newTinyGuest(system *os.File, program []byte) (_ *tinyGuest, err error) {
	g := &tinyGuest{program: len(program)}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	fd, err := ioctl(system, kvmCreateVM, 0)
	if err != nil {
		return nil, err
	}
	g.vm = os.NewFile(fd, "kvm-vm")
	if g.code, err = unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANONYMOUS); err != nil {
		return nil, fmt.Errorf("mmap of guest memory: %w", err)
	}
	copy(g.code, program)
	slot := gokvm.UserspaceMemoryRegion{
		MemorySize: uint64(len(g.code)), UserspaceAddr: uint64(uintptr(unsafe.Pointer(&g.code[0]))),
	}
	if err = ioctlObject(g.vm, kvmSetMemory, &slot); err != nil {
		return nil, err
	}
	if fd, err = ioctl(g.vm, kvmCreateVCPU, 0); err != nil {
		return nil, err
	}
	g.vcpu = os.NewFile(fd, "kvm-vcpu")
	size, err := ioctl(system, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return nil, err
	}
	if g.state, err = unix.Mmap(int(g.vcpu.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mmap of struct kvm_run: %w", err)
	}
	return g, nil
}

func (g *tinyGuest) close() {
	if g.state != nil {
		unix.Munmap(g.state)
	}
	for _, f := range []*os.File{g.vcpu, g.vm} {
		if f != nil {
			f.Close()
		}
	}
	if g.code != nil { // last: the memory slot points into it
		unix.Munmap(g.code)
	}
}

// run executes the program from its first byte to its hlt.
func (g *tinyGuest) run() (time.Duration, error) {
	var sregs gokvm.Sregs
	if err := ioctlObject(g.vcpu, kvmGetSregs, &sregs); err != nil {
		return 0, err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err := ioctlObject(g.vcpu, kvmSetSregs, &sregs); err != nil {
		return 0, err
	}
	if err := ioctlObject(g.vcpu, kvmSetRegs, &gokvm.Regs{RFLAGS: 2}); err != nil {
		return 0, err
	}
	start := time.Now()
	for {
		_, err := ioctl(g.vcpu, kvmRun, 0)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if reason := binary.LittleEndian.Uint32(g.state[8:]); reason != kvmExitHLT { // kvm_run.exit_reason
			return 0, fmt.Errorf("a guest of %d bytes exits with reason %d, want %d (hlt)", g.program, reason, kvmExitHLT)
		}
		return time.Since(start), nil
	}
}
