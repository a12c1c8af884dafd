package kvm

import (
	"sync/atomic"
	"unsafe"
)

// runPage is the head of struct kvm_run, up to the end of the union that
// describes an exit. The kernel writes it during KVM_RUN only.
type runPage struct {
	RequestInterruptWindow     uint8
	ImmediateExit              uint8
	_                          [6]uint8
	ExitReason                 ExitReason
	ReadyForInterruptInjection uint8
	IfFlag                     uint8
	Flags                      uint16
	CR8                        uint64
	APICBase                   uint64
	Exit                       [256]uint8
}

// runUnionEnd is where the union ends; sync regs follow.
const runUnionEnd = int(unsafe.Sizeof(runPage{}))

func runPageOf(mem []byte) *runPage {
	return (*runPage)(unsafe.Pointer(unsafe.SliceData(mem)))
}

// exitAs views the union as the struct that the kernel filled for an exit.
// T is at most 256 bytes and needs no more than 8-byte alignment, which the
// tests hold for each T.
func exitAs[T any](r *runPage) *T {
	return (*T)(unsafe.Pointer(&r.Exit))
}

// setImmediateExit is an atomic store: another thread's Kick does it while
// this one may be in Run. Go has no atomic bytes, so it stores the aligned
// 32-bit word at the start of kvm_run, of which the other byte in use,
// request_interrupt_window, is left as it is.
func (r *runPage) setImmediateExit(on bool) {
	word := (*uint32)(unsafe.Pointer(r))
	const bit = 1 << 8 // byte 1, little endian
	if on {
		atomic.OrUint32(word, bit)
	} else {
		atomic.AndUint32(word, ^uint32(bit))
	}
}

func (r *runPage) setRequestInterruptWindow(on bool) {
	word := (*uint32)(unsafe.Pointer(r))
	if on {
		atomic.OrUint32(word, 1)
	} else {
		atomic.AndUint32(word, ^uint32(1))
	}
}
