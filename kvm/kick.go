package kvm

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// KickSignal is the signal that gets a vCPU's thread out of KVM_RUN. It is a
// real-time signal that neither Go's runtime nor a C library uses for itself
// (they take SIGURG and 32 to 34).
//
// Go installs its own handler for every signal, with SA_RESTART, before main
// starts. For this one the handler finds no one who asked (signal.Notify) and
// returns; the signal is not one that ends the process. All that is left of
// it is what is wanted: KVM_RUN returns EINTR, as the kernel never restarts
// that ioctl.
const KickSignal = syscall.Signal(40)

// Bind ties the vCPU to the calling goroutine's thread, until Unbind: the
// goroutine stays on the thread, and Kick knows where to send its signal.
// KVM allows a vCPU to change threads, but the first run on a new one waits
// for an RCU grace period.
func (v *VCPU) Bind() error {
	v.thread.Lock()
	defer v.thread.Unlock()
	if v.tid != 0 {
		return &Error{Op: opBind, Object: v.object, Err: fmt.Errorf("already bound to thread %d", v.tid)}
	}
	runtime.LockOSThread()
	v.tid = unix.Gettid()
	return nil
}

// Unbind undoes Bind, in the same goroutine. Without Bind it does nothing.
func (v *VCPU) Unbind() {
	v.thread.Lock()
	defer v.thread.Unlock()
	if v.tid == 0 {
		return
	}
	v.tid = 0
	runtime.UnlockOSThread()
}

// Kick makes the Run that is under way return ErrInterrupted, or else the
// next one, at once and without running the guest. To ask a vCPU for
// something, set a flag, then Kick; its loop looks at the flag each time that
// Run returns ErrInterrupted. No such request is lost:
//
//   - immediate_exit is set first, so a thread on its way into KVM_RUN comes
//     straight back. The signal alone would be lost there: it would be handled
//     before the ioctl begins.
//   - the signal then, for a thread that is in the guest already and does not
//     look at immediate_exit any more.
//   - Run clears immediate_exit after KVM_RUN returned EINTR, and before the
//     caller looks at its flags.
//
// The error is ErrNotBound if no thread is bound; the next Run is interrupted
// all the same.
func (v *VCPU) Kick() error {
	if !v.acquire() {
		return &Error{Op: opKick, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	v.run.setImmediateExit(true)
	v.thread.Lock() // so that the thread cannot unbind and end before the signal
	defer v.thread.Unlock()
	if v.tid == 0 {
		return &Error{Op: opKick, Object: v.object, Err: ErrNotBound}
	}
	if err := unix.Tgkill(unix.Getpid(), v.tid, KickSignal); err != nil {
		return &Error{Op: opKick, Object: v.object, Err: err}
	}
	return nil
}

// Complete finishes an access that the last exit left half done (an IO or
// MMIO exit is done only when KVM_RUN is entered again), without running the
// guest: afterwards registers and memory are whole and can be read or saved.
// If the completion itself makes an exit (the next part of a long access) it
// is returned, to be handled as usual and completed again.
func (v *VCPU) Complete() (Exit, error) {
	if !v.acquire() {
		return nil, &Error{Op: opRun, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	v.run.setImmediateExit(true)
	exit, err := v.Run()
	if errors.Is(err, ErrInterrupted) {
		return nil, nil
	}
	return exit, err
}

// RequestInterruptWindow asks for an IRQWindowOpen exit as soon as the guest
// can take an interrupt. It is for VMs without in-kernel irqchip.
func (v *VCPU) RequestInterruptWindow(on bool) error {
	if !v.acquire() {
		return &Error{Op: opRun, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	v.run.setRequestInterruptWindow(on)
	return nil
}

// ReadyForInterrupt tells, after an exit, whether Interrupt may be called
// now. It is for VMs without in-kernel irqchip.
func (v *VCPU) ReadyForInterrupt() bool {
	if !v.acquire() {
		return false
	}
	defer v.done()
	return v.run.ReadyForInterruptInjection != 0
}

// signalMask is struct kvm_signal_mask with the 8 bytes of mask that the
// kernel insists on.
type signalMask struct {
	Len uint32
	Set [8]uint8
}

func (m signalMask) String() string { return fmt.Sprintf("blocked % x", m.Set) }

// SetSignalMask sets which signals are blocked while the guest runs, a bit
// each, the lowest for signal 1. Signals that are not interrupt KVM_RUN; the
// thread's own mask is back when it returns. It lets a thread ignore all but
// KickSignal in the guest; Kick itself does not need it.
func (v *VCPU) SetSignalMask(blocked uint64) error {
	m := signalMask{Len: 8}
	for i := range m.Set {
		m.Set[i] = byte(blocked >> (8 * i))
	}
	if _, err := ioctl(v.descriptor, reqSetSignalMask, &m); err != nil {
		return &Error{Op: opSetSignalMask, Object: v.object, Err: err}
	}
	return nil
}
