package kernel

import "tandem/virtio"

// VsockSpec says what socket device the kernel is to serve.
type VsockSpec struct {
	// CID is the guest's address, from 3 on; the error of OpenVsock wraps
	// unix.EADDRINUSE if another guest has it.
	CID uint64
	// Report is told of errors that have nowhere else to go. May be nil.
	Report func(error)
}

var _ virtio.RingServer = (*Vsock)(nil)
