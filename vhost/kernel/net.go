package kernel

import (
	"os"

	"tandem/virtio"
)

// NetSpec says what network device the kernel is to serve.
type NetSpec struct {
	// Taps has one queue of the tap for each queue pair. They stay the caller's,
	// and must be open until Close. A tap that has IFF_VNET_HDR set passes the
	// header through; its size is the caller's to set (TUNSETVNETHDRSZ).
	Taps []*os.File
	// Header has the kernel add and strip the header for a tap without
	// IFF_VNET_HDR.
	Header bool
	// BusyPoll is for how many microseconds a worker looks at ring and tap before it
	// sleeps; 0 for not at all.
	BusyPoll uint32
	// Report is told of errors that have nowhere else to go. May be nil.
	Report func(error)
}

var _ virtio.RingServer = (*Net)(nil)
