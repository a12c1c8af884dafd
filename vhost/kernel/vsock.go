package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/virtio"
)

// VsockSpec says what socket device the kernel is to serve.
type VsockSpec struct {
	// CID is the guest's address, from 3 on. The error of OpenVsock wraps
	// unix.EADDRINUSE if another guest has it.
	CID uint64
	// Report is told of errors that have nowhere else to go. May be nil.
	Report func(error)
}

// Vsock is a virtio socket device (virtio 1.2, section 5.10) whose data queues the
// kernel serves (vhost-vsock): a guest's sockets meet the host's AF_VSOCK, with no
// help of this process. It is a whole virtio.Device. Its third queue, for events, is
// the device's to write into, and nothing happens here that it would tell of.
type Vsock struct {
	server
	spec     VsockSpec
	dev      *Device
	features uint64
}

var (
	_ virtio.QueueResetter = (*Vsock)(nil)
	_ virtio.RingServer    = (*Vsock)(nil)
)

const (
	vsockRings     = 2 // that the kernel serves: receive, send
	vsockQueues    = 3 // and events
	vsockQueueSize = 128
)

// OpenVsock opens /dev/vhost-vsock and takes the CID.
func OpenVsock(spec VsockSpec) (*Vsock, error) {
	dev, err := Open(VsockPath)
	if err != nil {
		return nil, err
	}
	v := &Vsock{spec: spec, dev: dev, server: server{report: spec.Report}}
	if v.features, err = dev.Features(); err == nil {
		err = dev.SetGuestCID(spec.CID)
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	return v, nil
}

// Close stops the device and gives the CID back.
func (v *Vsock) Close() error {
	v.Reset()
	return v.dev.Close()
}

// Type implements virtio.Device.
func (v *Vsock) Type() virtio.Type { return virtio.TypeVsock }

// Features implements virtio.Device. The bits of the transport, which the kernel
// knows too, are the transport's to offer.
func (v *Vsock) Features() uint64 {
	const own = 1<<24 - 1
	return v.features & (own | virtio.RingFeatures)
}

// QueueSizes implements virtio.Device.
func (v *Vsock) QueueSizes() []uint16 {
	return []uint16{vsockQueueSize, vsockQueueSize, vsockQueueSize}
}

// ReadConfig implements virtio.Device: struct virtio_vsock_config.
func (v *Vsock) ReadConfig(off uint32, p []byte) {
	if c := binary.LittleEndian.AppendUint64(nil, v.spec.CID); off < uint32(len(c)) {
		copy(p, c[off:])
	}
}

// WriteConfig implements virtio.Device: all of it is read-only.
func (v *Vsock) WriteConfig(uint32, []byte) {}

// Activate implements virtio.Device.
func (v *Vsock) Activate(a *virtio.Activation) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.dev.SetFeatures(a.Features & v.features); err != nil {
		return err
	}
	if err := v.dev.SetMemory(a.Memory); err != nil {
		return err
	}
	l, err := newLife(a, VsockPath)
	if err != nil {
		return err
	}
	v.life = l
	if err := v.startAll(a.Queues); err != nil {
		v.stopAll()
		return err
	}
	return nil
}

// startAll starts those of the two rings that there are. The kernel starts both or
// none.
func (v *Vsock) startAll(queues []virtio.Queue) error {
	for i := range vsockRings {
		if i >= len(queues) || queues[i].Queue == nil {
			return fmt.Errorf("kernel: vhost-vsock: queue %d is not enabled: %w", i, unix.EINVAL)
		}
		r, err := startRing(v.dev, i, queues[i], v.life, false, 0)
		if err != nil {
			return err
		}
		v.life.rings[i] = r
	}
	if err := v.dev.SetRunning(true); err != nil {
		return err
	}
	// What the driver offered before the rings ran has been kicked for already.
	return queues[1].Kick.Signal()
}

func (v *Vsock) stopAll() {
	if err := v.dev.SetRunning(false); err != nil {
		v.tell(err)
	}
	v.life.end()
	v.life = nil
}

// Reset implements virtio.Device.
func (v *Vsock) Reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.life != nil {
		v.stopAll()
	}
}

// StopQueue implements virtio.QueueResetter. The kernel stops both rings; they go on
// when there are both again.
func (v *Vsock) StopQueue(i int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.life == nil || i >= vsockRings || v.life.rings[i] == nil {
		return
	}
	v.tell(v.dev.SetRunning(false))
	v.life.rings[i].forget()
	v.life.rings[i] = nil
}

// StartQueue implements virtio.QueueResetter.
func (v *Vsock) StartQueue(i int, q virtio.Queue) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.life == nil {
		return fmt.Errorf("kernel: vhost-vsock: start queue %d: not active", i)
	}
	if i >= vsockRings {
		return nil
	}
	r, err := startRing(v.dev, i, q, v.life, false, 0)
	if err != nil {
		return err
	}
	v.life.rings[i] = r
	if v.life.rings[0] == nil || v.life.rings[1] == nil {
		return nil // the other one comes too
	}
	if err := v.dev.SetRunning(true); err != nil {
		return err
	}
	return q.Kick.Signal()
}
