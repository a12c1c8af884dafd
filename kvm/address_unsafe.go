package kvm

import "unsafe"

// addressOf is the host virtual address (HVA) of guest memory, for a struct
// that holds it as a number. Guest memory is mapped, not on Go's heap, so
// the number stays right for as long as the mapping does.
func addressOf(memory []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}
