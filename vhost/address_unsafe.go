package vhost

import "unsafe"

// Address is where b lies in this process. It is a number, which keeps nothing alive
// and in place: b has to be a mapping, not of the garbage collector's.
func Address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
