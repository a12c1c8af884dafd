package atomic16

import "unsafe"

// At is the field at off in b, which must be aligned to 2.
func At(b []byte, off int) *uint16 {
	return (*uint16)(unsafe.Pointer(&b[off : off+2][0]))
}
