package vsock

import (
	"errors"

	"tandem/virtio"
)

// Device is a socket device. It implements virtio.Device, virtio.QueueResetter and virtio.Notified.
type Device struct {
	spec Spec
}

// New makes a socket device, and its Unix socket.
func New(spec Spec) (*Device, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	return &Device{spec: spec}, nil
}

// Close ends all connections and listeners, and removes the Unix socket. The device must not be active.
func (d *Device) Close() error { return nil }

// CID is the guest's address.
func (d *Device) CID() uint64 { return d.spec.CID }

// ResetTransport ends all connections and tells the driver so (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET).
func (d *Device) ResetTransport() {}

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeVsock }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return virtio.RingFeatures }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 { return []uint16{256, 256, 64} }

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint32, p []byte) {}

// WriteConfig implements virtio.Device.
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error { return errors.ErrUnsupported }

// Reset implements virtio.Device.
func (d *Device) Reset() {}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error { return errors.ErrUnsupported }

// Notify implements virtio.Notified.
func (d *Device) Notify(i int) {}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
