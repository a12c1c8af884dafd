package kvm

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Run lets the guest run until it makes an exit that the kernel leaves to the
// monitor. The Exit and what it refers to are valid until the next Run or
// Close of this vCPU; switch on its type:
//
//	switch e := exit.(type) {
//	case *kvm.IO:
//	case *kvm.MMIO:
//
// For a read (IO.In, MMIO without Write) the answer is put into Data, and the
// next Run gives it to the guest. A write or a read is finished only by the
// next Run: registers and memory are whole after it, not before.
//
// If the run was interrupted, by Kick or by another signal, the exit is nil
// and the error is ErrInterrupted. There is nothing to handle then.
func (v *VCPU) Run() (Exit, error) {
	if !v.acquire() {
		return nil, &Error{Op: opRun, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	if v.trace != nil {
		return v.runTraced()
	}
	if errno := v.runOnce(); errno != 0 {
		return v.runError(errno)
	}
	return v.exit()
}

// runOnce uses Syscall, not RawSyscall: while the guest runs, Go must be able
// to give this thread's P to other goroutines and to collect garbage.
//
// EAGAIN is the kernel's answer when an AP left the wait-for-SIPI state; the
// run is to be repeated, nothing happened yet.
func (v *VCPU) runOnce() unix.Errno {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(RequestRun), 0)
		if errno != unix.EAGAIN {
			return errno
		}
	}
}

func (v *VCPU) runTraced() (Exit, error) {
	start := time.Now()
	errno := v.runOnce()
	call := Call{Object: v.object, Request: RequestRun, Start: start, Duration: time.Since(start)}
	if errno != 0 {
		call.Err = errno
		v.trace(call)
		return v.runError(errno)
	}
	exit, err := v.exit()
	if err == nil {
		call.Arg = exit.String() // text: the exit itself is overwritten by the next run
	}
	v.trace(call)
	return exit, err
}

func (v *VCPU) exit() (Exit, error) {
	exit := v.decode()
	if exit == nil {
		return nil, &Error{Op: opRun, Object: v.object, Err: errors.New("I/O data outside of kvm_run")}
	}
	return exit, nil
}

func (v *VCPU) runError(errno unix.Errno) (Exit, error) {
	if errno == unix.EINTR {
		// Now, not before the next KVM_RUN: a Kick from here on is meant for
		// that one and must not be lost. A Kick before this line made the
		// return that the caller is about to look into.
		v.run.setImmediateExit(false)
		return nil, ErrInterrupted
	}
	return nil, &Error{Op: opRun, Object: v.object, Err: errno}
}
