package queue

import "unsafe"

// aligned tells whether the mapping of an area is aligned as its guest physical
// address is: an index that straddles two cache lines would not be atomic.
func aligned(area []byte, n uint64) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(area)))%uintptr(n) == 0
}
