package rng

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/queue"
)

const (
	queueSize = 64
	// maxBytes is the most that one chain gets. The device may fill less than it
	// was given (virtio 1.2, section 5.4.6.1), and a chain of gigabytes would keep
	// a reset waiting.
	maxBytes = 64 << 10
)

// Device is a virtio entropy device. It implements virtio.Device,
// virtio.QueueResetter and virtio.Notified.
type Device struct {
	workers virtio.Workers
}

// New makes an entropy device that the kernel's random numbers feed.
func New() *Device { return &Device{} }

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return virtio.TypeRNG }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return virtio.RingFeatures }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 { return []uint16{queueSize} }

// ReadConfig implements virtio.Device: there is no configuration.
func (d *Device) ReadConfig(uint32, []byte) {}

// WriteConfig implements virtio.Device.
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	d.workers.Start(a, func(int) virtio.Serve { return serve })
	return nil
}

// Reset implements virtio.Device.
func (d *Device) Reset() { d.workers.Stop() }

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) { d.workers.StopQueue(i) }

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	d.workers.StartQueue(i, q)
	return nil
}

// Notify implements virtio.Notified.
func (d *Device) Notify(i int) { d.workers.Notify(i) }

// serve fills a chain with random bytes. The kernel writes them straight into the
// guest's memory.
func serve(q *queue.Queue, c *queue.Chain) (uint32, error) {
	if c.WriteLen == 0 {
		return 0, q.Broken(c, "an entropy request without room for a byte")
	}
	written := 0
	for _, p := range c.Writable {
		p = p[:min(len(p), maxBytes-written)]
		for len(p) > 0 {
			n, err := unix.Getrandom(p, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("rng: getrandom: %w", err)
			}
			p = p[n:]
			written += n
		}
	}
	return uint32(written), nil
}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.Notified      = (*Device)(nil)
)
