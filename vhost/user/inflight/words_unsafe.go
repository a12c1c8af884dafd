package inflight

import (
	"sync/atomic"
	"unsafe"
)

// word32 and word64 are words of the mapping. Each is aligned: the mapping is to a
// page, the area to 8 bytes, and so is all in it. The compiler moves no access to
// memory across an atomic one, which is what the order of the steps needs.

func word32(b []byte, at int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&b[at : at+4][0]))
}

func word64(b []byte, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b[at : at+8][0]))
}
