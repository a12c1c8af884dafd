package frontend

import (
	"context"
	"errors"

	"tandem/virtio"
)

// Device is a virtio device whose queues a back-end serves, in another process. A
// transport takes it as any other virtio.Device (it is a QueueResetter too), and a
// device that keeps some queues for itself takes it as its virtio.RingServer.
//
//	dev, err := frontend.Open(ctx, frontend.Spec{
//		Type: virtio.TypeBlk, Queues: 1, ConfigSize: 60, Dial: frontend.Socket("/run/blk.sock"),
//	})
//	fn, err := pci.New(dev, mem, host, pci.Options{...})
//
// All regions of guest memory have to be shared: memory.MapShared, or any other with
// a File.
type Device struct{ spec Spec }

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.RingServer    = (*Device)(nil)
)

// Open connects to a back-end and asks it what it can do.
func Open(ctx context.Context, spec Spec) (*Device, error) { return nil, errors.ErrUnsupported }

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return d.spec.Type }

// Features implements virtio.Device: what the back-end offers of Spec.Features.
func (d *Device) Features() uint64 { return 0 }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 { return nil }

// ReadConfig implements virtio.Device, out of a copy: it never waits for the
// back-end.
func (d *Device) ReadConfig(off uint32, p []byte) {}

// WriteConfig implements virtio.Device.
func (d *Device) WriteConfig(off uint32, p []byte) {}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error { return errors.ErrUnsupported }

// Reset implements virtio.Device.
func (d *Device) Reset() {}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error { return errors.ErrUnsupported }

// SetMTU tells a network back-end the MTU that the driver sees (protocol feature
// MTU).
func (d *Device) SetMTU(mtu uint16) error { return errors.ErrUnsupported }

// Close ends the connection. The device must not be active.
func (d *Device) Close() error { return nil }
