package kernel

import (
	"errors"

	"tandem/virtio"
)

type served struct{}

func (served) Features() uint64                   { return 0 }
func (served) Activate(*virtio.Activation) error  { return errors.ErrUnsupported }
func (served) Reset()                             {}
func (served) StopQueue(int)                      {}
func (served) StartQueue(int, virtio.Queue) error { return errors.ErrUnsupported }
func (served) Close() error                       { return nil }

// Net serves the queues of a network device in the kernel (vhost-net): queue 2n of
// the device receives from Taps[n], and queue 2n+1 sends to it. It is a
// virtio.RingServer: a device hands it the Activation that its transport gave it,
// with no more than the data queues in it.
type Net struct{ served }

// OpenNet opens /dev/vhost-net once for each queue pair. The error wraps
// errors.ErrUnsupported where there is no such thing.
func OpenNet(spec NetSpec) (*Net, error) { return nil, errors.ErrUnsupported }

// Vsock serves queues 0 (receive) and 1 (send) of a socket device in the kernel
// (vhost-vsock). Queue 2, events, is the device's own.
type Vsock struct{ served }

// OpenVsock opens /dev/vhost-vsock and takes the CID.
func OpenVsock(spec VsockSpec) (*Vsock, error) { return nil, errors.ErrUnsupported }
