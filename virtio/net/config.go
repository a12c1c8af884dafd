package net

import (
	"encoding/binary"
	"fmt"
	"net"
)

// struct virtio_net_config. virtio 1.2, section 5.1.4.
const (
	configMAC      = 0
	configStatus   = 6
	configMaxPairs = 8
	configMTU      = 10
	configSpeed    = 12
	configDuplex   = 16
	configSize     = 24
)

// Bits of the field status.
const (
	statusLinkUp   = 1 // VIRTIO_NET_S_LINK_UP
	statusAnnounce = 2 // VIRTIO_NET_S_ANNOUNCE
)

// Bounds of what a driver is told.
const (
	MaxPairs = 0x8000 // VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX
	minMTU   = 68     // virtio 1.2, section 5.1.4.1; RFC 791
	maxMTU   = 65535

	speedUnknown  = 0xffffffff
	duplexUnknown = 0xff
	duplexFull    = 1
)

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint32, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < configSize {
		copy(p, d.config[off:])
	}
}

// WriteConfig implements virtio.Device. All of it is read-only to a driver of virtio 1: the address is changed by a
// command.
func (d *Device) WriteConfig(uint32, []byte) {}

func (d *Device) makeConfig() {
	c := d.config[:]
	copy(c[configMAC:], d.spec.MAC)
	binary.LittleEndian.PutUint16(c[configStatus:], statusLinkUp)
	binary.LittleEndian.PutUint16(c[configMaxPairs:], uint16(d.spec.Pairs))
	binary.LittleEndian.PutUint16(c[configMTU:], d.spec.MTU)
	speed, duplex := uint32(speedUnknown), byte(duplexUnknown)
	if d.spec.Speed != 0 {
		speed, duplex = d.spec.Speed, duplexFull
	}
	binary.LittleEndian.PutUint32(c[configSpeed:], speed)
	c[configDuplex] = duplex
}

// setStatus changes bits of the field status, and tells the driver.
func (d *Device) setStatus(clear, set uint16) {
	change := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		status := binary.LittleEndian.Uint16(d.config[configStatus:])
		binary.LittleEndian.PutUint16(d.config[configStatus:], status&^clear|set)
	}
	d.mu.Lock()
	update := d.update
	d.mu.Unlock()
	if update == nil {
		change()
		return
	}
	update(change)
}

// SetLink tells the driver whether the cable is plugged in. A driver that did not agree on VIRTIO_NET_F_STATUS takes it
// for plugged in always.
func (d *Device) SetLink(up bool) {
	if up {
		d.setStatus(0, statusLinkUp)
		return
	}
	d.setStatus(statusLinkUp, 0)
}

// Announce asks the driver to tell its network where it is (a gratuitous ARP), as after it was moved to another host. A
// driver that did not agree on VIRTIO_NET_F_GUEST_ANNOUNCE does not.
func (d *Device) Announce() { d.setStatus(0, statusAnnounce) }

// checkMAC refuses what is not the address of one card.
func checkMAC(mac net.HardwareAddr) error {
	switch {
	case len(mac) != 6:
		return fmt.Errorf("MAC address %q has %d bytes, want 6", mac, len(mac))
	case mac[0]&1 != 0:
		return fmt.Errorf("MAC address %s is that of a group", mac)
	case [6]byte(mac) == [6]byte{}:
		return fmt.Errorf("MAC address %s is nobody's", mac)
	}
	return nil
}
