package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotSupported says that this host's KVM lacks something. The error
	// that a caller sees wraps it and names the capability; errors.As with a
	// *NotSupportedError gives the capability itself.
	ErrNotSupported = errors.New("not supported by this host's KVM")

	// ErrClosed is returned by every method of a closed System, VM or VCPU.
	ErrClosed = errors.New("already closed")

	// ErrNotBound is returned by VCPU.Kick when no thread runs the vCPU.
	ErrNotBound = errors.New("vCPU is not bound to a thread")
)

// ErrInterrupted is what VCPU.Run returns when KVM_RUN came back with EINTR:
// a signal arrived, or immediate_exit was set. The guest made no exit, and
// kvm_run may still hold the previous one, so there is nothing to handle:
// look at what the kick was for, and run again.
//
// errors.Is(err, unix.EINTR) holds too.
var ErrInterrupted error = interrupted{}

type interrupted struct{}

func (interrupted) Error() string { return "kvm: run: interrupted" }
func (interrupted) Unwrap() error { return unix.EINTR }

// Error is an operation on a KVM object that failed.
// It prints as "kvm: set irqfd gsi 5: no such device".
type Error struct {
	Op     string // "set irqfd"; op.go lists them
	Object string // what it was done to, "gsi 5"; may be empty
	Err    error  // usually a unix.Errno
}

func (e *Error) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("kvm: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("kvm: %s %s: %v", e.Op, e.Object, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// NotSupportedError names the capability that is missing.
type NotSupportedError struct {
	Capability Capability
}

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("%v: %v", ErrNotSupported, e.Capability)
}

func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// MSRError says at which MSR a list of reads or writes stopped. The kernel
// does the entries in order and returns how many it did: those before it
// were done, those from it on were not.
type MSRError struct {
	Index uint32 // the MSR that KVM refused
	Done  int    // how many entries before it were done
	Total int    // how many were asked for
}

func (e *MSRError) Error() string {
	return fmt.Sprintf("MSR %#x refused, %d of %d done", e.Index, e.Done, e.Total)
}
