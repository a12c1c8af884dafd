package frontend

import (
	"fmt"

	"tandem/vhost/user"
	"tandem/virtio"
)

// protocolFeatures is what this front-end can do of the protocol.
const protocolFeatures = user.ProtocolFeatures(1<<user.ProtocolMQ | 1<<user.ProtocolLogSHMFD | 1<<user.ProtocolReplyAck | 1<<user.ProtocolMTU |
	1<<user.ProtocolBackendReq | 1<<user.ProtocolConfig | 1<<user.ProtocolInflightSHMFD |
	1<<user.ProtocolResetDevice | 1<<user.ProtocolConfigureMemSlots | 1<<user.ProtocolStatus)

// ownFeatures are the bits that belong to a kind of device, not to the ring or the
// transport. virtio 1.2, section 2.2.
const ownFeatures uint64 = 1<<24 - 1 | (1<<64 - 1<<50)

// negotiate finds out what the back-end can do, and agrees on a protocol.
func (d *Device) negotiate(l *link) error {
	if err := l.do(user.SetOwner, nil); err != nil {
		return err
	}
	var err error
	if l.features, err = l.number(user.GetFeatures); err != nil {
		return err
	}
	if l.features&(1<<virtio.FeatureVersion1) == 0 {
		return fmt.Errorf("frontend: features %#x of the back-end: no VIRTIO_F_VERSION_1", l.features)
	}
	if l.features&(1<<user.FeatureProtocol) != 0 {
		if err := d.negotiateProtocol(l); err != nil {
			return err
		}
	}
	if d.spec.ConfigSize > 0 && !l.protocol.Has(user.ProtocolConfig) {
		return fmt.Errorf("frontend: the back-end has no configuration space (%v)", l.protocol)
	}
	return d.checkQueues(l)
}

func (d *Device) negotiateProtocol(l *link) error {
	offered, err := l.number(user.GetProtocolFeatures)
	if err != nil {
		return err
	}
	agreed := user.ProtocolFeatures(offered) & protocolFeatures
	if d.spec.ConfigSize == 0 {
		agreed &^= user.Protocol(user.ProtocolConfig)
	}
	if err := l.do(user.SetProtocolFeatures, user.U64(agreed)); err != nil {
		return err
	}
	l.protocol = agreed
	if agreed.Has(user.ProtocolBackendReq) {
		return d.openChannel(l)
	}
	return nil
}

// checkQueues asks how many queues the back-end has: pairs, for a network device.
func (d *Device) checkQueues(l *link) error {
	if !l.protocol.Has(user.ProtocolMQ) {
		return nil
	}
	have, err := l.number(user.GetQueueNum)
	if err != nil {
		return err
	}
	want := uint64(d.spec.Queues)
	if d.spec.Type == virtio.TypeNet {
		want /= 2
	}
	if have < want {
		return fmt.Errorf("frontend: the back-end has %d queues, want %d", have, want)
	}
	return nil
}

// fetchConfig reads the configuration space.
func (d *Device) fetchConfig(l *link) ([]byte, error) {
	n := uint32(d.spec.ConfigSize)
	p, _, err := l.call(user.GetConfig, user.Config{Size: n, Data: make([]byte, n)})
	if err != nil {
		return nil, err
	}
	c := p.(user.Config)
	if c.Offset != 0 || len(c.Data) != int(n) {
		return nil, fmt.Errorf("frontend: %v: %w: %d bytes at %d, want %d", user.GetConfig, ErrRefused, len(c.Data), c.Offset, n)
	}
	return c.Data, nil
}
