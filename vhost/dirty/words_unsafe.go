package dirty

import "unsafe"

// words is a piece of a mapping, which is aligned to words and has whole ones, as them.
func words(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/wordSize)
}
