package net

import (
	"encoding/binary"

	"tandem/virtio/queue"
)

// Commands of the control queue. virtio 1.2, section 5.1.6.5.
const (
	classRX            = 0 // VIRTIO_NET_CTRL_RX
	classMAC           = 1 // VIRTIO_NET_CTRL_MAC
	classVLAN          = 2 // VIRTIO_NET_CTRL_VLAN
	classAnnounce      = 3 // VIRTIO_NET_CTRL_ANNOUNCE
	classMQ            = 4 // VIRTIO_NET_CTRL_MQ
	classGuestOffloads = 5 // VIRTIO_NET_CTRL_GUEST_OFFLOADS

	rxPromisc = 0
	rxAllMult = 1
	rxAllUni  = 2
	rxNoMulti = 3
	rxNoUni   = 4
	rxNoBcast = 5

	macTableSet = 0
	macAddrSet  = 1

	vlanAdd = 0
	vlanDel = 1

	announceAck = 0
	mqPairsSet  = 0
	offloadsSet = 0

	ackOK  = 0 // VIRTIO_NET_OK
	ackErr = 1 // VIRTIO_NET_ERR
)

// maxCommand is more than any command needs: two lists of addresses, of which all but maxFilterMACs are only counted.
const maxCommand = 64 << 10

// serveControl is a virtio.Serve.
func (d *Device) serveControl(q *queue.Queue, c *queue.Chain) (uint32, error) {
	if c.WriteLen < 1 {
		return 0, q.Broken(c, "a control command without room for the answer")
	}
	answer := byte(ackErr)
	if c.ReadLen >= 2 && c.ReadLen <= maxCommand {
		// A copy: the driver may change its own while it is looked at.
		text := make([]byte, 0, c.ReadLen)
		for _, p := range c.Readable {
			text = append(text, p...)
		}
		if d.command(text[0], text[1], text[2:]) {
			answer = ackOK
		}
	}
	put(c.Writable, 0, []byte{answer})
	return 1, nil
}

// command carries a command out, and tells whether it could.
func (d *Device) command(class, command byte, data []byte) bool {
	switch class {
	case classRX:
		return d.agreedOn(FeatureCtrlRX) && d.setMode(command, data)
	case classMAC:
		return d.setMAC(command, data)
	case classVLAN:
		return d.agreedOn(FeatureCtrlVLAN) && d.setVLAN(command, data)
	case classAnnounce:
		if !d.agreedOn(FeatureGuestAnnounce) || command != announceAck || len(data) != 0 {
			return false
		}
		d.setStatus(statusAnnounce, 0)
		return true
	case classMQ:
		return d.agreedOn(FeatureMQ) && command == mqPairsSet && d.setPairs(data)
	case classGuestOffloads:
		return d.agreedOn(FeatureCtrlGuestOffloads) && command == offloadsSet && d.setOffloads(data)
	}
	return false
}

func (d *Device) agreedOn(feature uint) bool { return d.agreed&(1<<feature) != 0 }

func (d *Device) setMode(command byte, data []byte) bool {
	if len(data) != 1 || data[0] > 1 || command > rxAllMult && !d.agreedOn(FeatureCtrlRXExtra) {
		return false
	}
	on, known := data[0] == 1, true
	d.filter.change(func(f *filter) {
		switch command {
		case rxPromisc:
			f.promisc = on
		case rxAllMult:
			f.allMulti = on
		case rxAllUni:
			f.allUni = on
		case rxNoMulti:
			f.noMulti = on
		case rxNoUni:
			f.noUni = on
		case rxNoBcast:
			f.noBcast = on
		default:
			known = false
		}
	})
	return known
}

func (d *Device) setMAC(command byte, data []byte) bool {
	switch {
	case command == macAddrSet && d.agreedOn(FeatureCtrlMACAddr):
		if len(data) != 6 || checkMAC(data) != nil {
			return false
		}
		d.mu.Lock()
		copy(d.config[configMAC:], data)
		d.mu.Unlock()
		d.filter.change(func(f *filter) { f.mac, f.haveMAC = [6]byte(data), true })
		return true
	case command == macTableSet && d.agreedOn(FeatureCtrlRX):
		unicast, rest, ok := macTable(data)
		if !ok {
			return false
		}
		multicast, rest, ok := macTable(rest)
		if !ok || len(rest) != 0 {
			return false
		}
		d.filter.change(func(f *filter) {
			f.unicast, f.multicast = unicast.list, multicast.list
			f.manyUni, f.manyMulti = unicast.tooMany, multicast.tooMany
		})
		return true
	}
	return false
}

type addressList struct {
	list    [][6]byte
	tooMany bool
}

// macTable reads a struct virtio_net_ctrl_mac: a number, and so many addresses.
func macTable(data []byte) (list addressList, rest []byte, ok bool) {
	if len(data) < 4 {
		return list, nil, false
	}
	n, data := binary.LittleEndian.Uint32(data), data[4:]
	if uint64(n)*6 > uint64(len(data)) {
		return list, nil, false
	}
	rest = data[n*6:]
	if n > maxFilterMACs {
		return addressList{tooMany: true}, rest, true
	}
	for i := range n {
		list.list = append(list.list, [6]byte(data[i*6:]))
	}
	return list, rest, true
}

func (d *Device) setVLAN(command byte, data []byte) bool {
	if len(data) != 2 || command > vlanDel {
		return false
	}
	id := binary.LittleEndian.Uint16(data)
	if id >= 4096 {
		return false
	}
	d.filter.change(func(f *filter) {
		vlans := *f.vlans
		if command == vlanAdd {
			vlans[id/64] |= 1 << (id % 64)
		} else {
			vlans[id/64] &^= 1 << (id % 64)
		}
		f.vlans = &vlans
	})
	return true
}

func (d *Device) setPairs(data []byte) bool {
	if len(data) != 2 {
		return false
	}
	n := int(binary.LittleEndian.Uint16(data))
	if n < 1 || n > d.spec.Pairs {
		return false
	}
	if d.spec.Backend == nil {
		return true // the one who serves the queues has learnt of each of them when it was enabled
	}
	if err := d.usePairs(n); err != nil {
		d.report(err)
		return false
	}
	return true
}

func (d *Device) setOffloads(data []byte) bool {
	if len(data) != 8 {
		return false
	}
	wanted := binary.LittleEndian.Uint64(data)
	if wanted&^(d.agreed&GuestOffloads) != 0 || consistent(wanted|d.agreed&^GuestOffloads)&GuestOffloads != wanted {
		return false
	}
	if err := d.spec.Backend.SetOffloads(wanted); err != nil {
		d.report(err)
		return false
	}
	return true
}
