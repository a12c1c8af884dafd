package main

import "unsafe"

// word is four bytes of shared memory, for the functions of sync/atomic.
func word(b []byte) *uint32 {
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(b[:4])))
}
