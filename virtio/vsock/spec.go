package vsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/virtio"
)

// Addresses of the two sides. virtio 1.2, section 5.10.4.
const (
	HostCID     = 2          // VMADDR_CID_HOST
	MinGuestCID = 3          // the first that a guest may have
	MaxGuestCID = 0xfffffffe // 0xffffffff is VMADDR_CID_ANY
)

// What a Spec has where it says nothing.
const (
	DefaultMaxConnections = 1024
	DefaultBuffer         = 256 << 10
)

const minBuffer = 4 << 10

// Spec is the device that is wanted.
type Spec struct {
	// CID is the guest's address: MinGuestCID to MaxGuestCID.
	CID uint64
	// Path, if not empty, is the Unix socket that programs of the host connect to (CONNECT port). It is made with mode
	// 0600, must not exist, and is removed by Close. What a guest connects to is Path_PORT. Without one, Dial and Listen
	// are all that the host's side has.
	Path string
	// MaxConnections bounds how many there are at once; DefaultMaxConnections if 0. More are refused.
	MaxConnections int
	// Buffer is how many bytes of one connection the device holds for a program of the host that does not read them:
	// what the guest may send ahead (buf_alloc). DefaultBuffer if 0.
	Buffer int

	// Server, if not nil, serves queues 0 and 1 in the device's place: the kernel's vhost. There is no Path then, and
	// no Dial and Listen: programs of the host use AF_VSOCK.
	Server virtio.RingServer
	// Report, if not nil, is told of errors that concern nobody else.
	Report func(error)
}

// Check tells what is wrong with a Spec, without touching the host.
func (s *Spec) Check() error {
	longest := len(unix.RawSockaddrUnix{}.Path) - len("_4294967295") - 1
	switch {
	case s.CID < MinGuestCID || s.CID > MaxGuestCID:
		return fmt.Errorf("virtio/vsock: CID %d: want %d to %d", s.CID, MinGuestCID, uint64(MaxGuestCID))
	case len(s.Path) > longest:
		return fmt.Errorf("virtio/vsock: path %s: %d bytes: want at most %d", s.Path, len(s.Path), longest)
	case s.MaxConnections < 0 || s.MaxConnections > 1<<20:
		return fmt.Errorf("virtio/vsock: %d connections: want up to %d", s.MaxConnections, 1<<20)
	case s.Buffer != 0 && (s.Buffer < minBuffer || s.Buffer > 1<<30):
		return fmt.Errorf("virtio/vsock: a buffer of %d bytes: want %d to %d", s.Buffer, minBuffer, 1<<30)
	case s.Server != nil && s.Path != "":
		return fmt.Errorf("virtio/vsock: path %s: %w", s.Path, errServed)
	}
	return nil
}

// errServed is why there are no sockets of the monitor's own.
var errServed = fmt.Errorf("the queues are served elsewhere: %w", errors.ErrUnsupported)
