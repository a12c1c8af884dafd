package frontend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"tandem/vhost/dirty"
	"tandem/vhost/user"
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
//
// A back-end that goes away is waited for, with the guest none the wiser: its
// requests stay in the rings, and the next back-end carries them out. What the driver
// does meanwhile (reset, another start) is done when that one is there.
type Device struct {
	spec    Spec
	offered uint64 // features for the driver
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines

	mu           sync.Mutex // guards what follows, and the use of link
	link         *link      // nil while there is no back-end
	life         *life      // nil while the device is not active
	reconnecting bool
	inflight     *os.File // the area for requests in flight; nil for none
	area         user.Inflight
	log          *dirty.Log // nil for none

	configMu sync.RWMutex
	config   []byte
}

var (
	_ virtio.QueueResetter = (*Device)(nil)
	_ virtio.RingServer    = (*Device)(nil)
)

// Open connects to a back-end and asks it what it can do.
func Open(ctx context.Context, spec Spec) (*Device, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("frontend: open %v: %w", spec.Type, err)
	}
	d := &Device{spec: spec, config: spec.Config}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	l, err := d.connect(ctx)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("frontend: open %v: %w", spec.Type, err)
	}
	own := ownFeatures
	if spec.Features != 0 {
		own = spec.Features
	}
	d.offered = l.features & (own | virtio.RingFeatures)
	d.mu.Lock()
	d.link = l
	d.mu.Unlock()
	return d, nil
}

// connect makes a connection, and agrees with whoever is at its other end.
func (d *Device) connect(ctx context.Context) (*link, error) {
	socket, err := d.spec.Dial(ctx)
	if err != nil {
		return nil, err
	}
	d.running.Add(1)
	l := newLink(socket, d.spec.Timeout, func(l *link) {
		defer d.running.Done()
		d.lost(l)
	})
	if err := d.negotiate(l); err != nil {
		l.close()
		return nil, err
	}
	if d.spec.ConfigSize > 0 {
		config, err := d.fetchConfig(l)
		if err != nil {
			l.close()
			return nil, err
		}
		d.setConfig(config)
	}
	return l, nil
}

// Close ends the connection. The device must not be active.
func (d *Device) Close() error {
	d.cancel()
	d.mu.Lock()
	l := d.link
	d.link = nil
	d.dropInflight()
	d.mu.Unlock()
	if l != nil {
		l.close()
	}
	d.running.Wait()
	return nil
}

func (d *Device) report(err error) {
	if d.spec.Report != nil {
		d.spec.Report(err)
	}
}

// Connected tells whether there is a back-end at the moment.
func (d *Device) Connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.link != nil
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.Type { return d.spec.Type }

// Features implements virtio.Device: what the back-end offers of Spec.Features, and
// of the ring's features.
func (d *Device) Features() uint64 { return d.offered }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, d.spec.Queues)
	for i := range sizes {
		sizes[i] = d.spec.QueueSize
	}
	return sizes
}

// ReadConfig implements virtio.Device, out of a copy: it never waits for the
// back-end.
func (d *Device) ReadConfig(off uint32, p []byte) {
	d.configMu.RLock()
	defer d.configMu.RUnlock()
	if off < uint32(len(d.config)) {
		copy(p, d.config[off:])
	}
}

// WriteConfig implements virtio.Device.
func (d *Device) WriteConfig(off uint32, p []byte) {
	size := uint32(d.spec.ConfigSize)
	if off >= size || uint32(len(p)) > size-off || len(p) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link == nil {
		return // lost with the back-end; the next one has a configuration of its own
	}
	err := d.link.do(user.SetConfig, user.Config{Offset: off, Size: uint32(len(p)), Data: p})
	if err == nil {
		err = d.refreshConfig(d.link)
	}
	if err != nil {
		d.report(err)
	}
}

func (d *Device) setConfig(config []byte) {
	d.configMu.Lock()
	defer d.configMu.Unlock()
	d.config = config
}

// refreshConfig looks at what the back-end made of the configuration.
func (d *Device) refreshConfig(l *link) error {
	if d.spec.ConfigSize == 0 {
		return nil
	}
	config, err := d.fetchConfig(l)
	if err == nil {
		d.setConfig(config)
	}
	return err
}

// configChanged is the back-end's word that its configuration changed.
func (d *Device) configChanged(l *link) {
	d.mu.Lock()
	var config []byte
	err := ErrLost
	life := d.life
	if d.link == l {
		config, err = d.fetchConfig(l)
	}
	d.mu.Unlock()
	switch {
	case errors.Is(err, ErrLost):
	case err != nil:
		d.report(err)
	case life == nil:
		d.setConfig(config)
	default:
		life.UpdateConfig(func() { d.setConfig(config) })
	}
}

// SetMTU tells a network back-end the MTU that the driver sees (protocol feature
// MTU). The error wraps errors.ErrUnsupported if the back-end has no such thing.
func (d *Device) SetMTU(mtu uint16) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.link == nil:
		return fmt.Errorf("frontend: set MTU %d: %w", mtu, ErrLost)
	case !d.link.protocol.Has(user.ProtocolMTU):
		return fmt.Errorf("frontend: set MTU %d: %w", mtu, errors.ErrUnsupported)
	}
	return d.link.do(user.NetSetMTU, user.U64(mtu))
}
