package queue

import "unsafe"

// word is the 16-bit field at off in a ring, for load16 and store16.
func word(ring []byte, off int) *uint16 {
	return (*uint16)(unsafe.Pointer(&ring[off : off+2][0]))
}

// aligned tells whether the mapping of an area is aligned as its guest physical
// address is: an index that straddles two cache lines would not be atomic.
func aligned(area []byte, n uint64) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(area)))%uintptr(n) == 0
}
