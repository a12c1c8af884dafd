package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/net"
	"tandem/virtio/pci"
	"tandem/virtio/virtiotest"
)

const (
	memorySize = 1 << 20
	barAt      = 0xc000_0000
	ringSize   = 16
	patience   = 10 * time.Second
)

// travel sends frames on a path, and tells when each came to each hop.
func travel(p path) (list []hops, err error) {
	w, err := newWire()
	if err != nil {
		return nil, err
	}
	defer w.close()
	r := &recorder{}
	card, finish, err := p.open(w, r)
	if err != nil {
		return nil, err
	}
	list, err = drive(p, card, r, w)
	err = errors.Join(err, card.Close())
	device, finishErr := finish()
	if err := errors.Join(err, finishErr); err != nil {
		return nil, err
	}
	return merge(list, device), nil
}

// drive plugs the card into a machine that has memory, a PCI function and interrupts, but no processor, and is its driver.
func drive(p path, card *net.Device, r *recorder, w *wire) (list []hops, err error) {
	region, err := memory.MapShared(0, memorySize) // another process may have to map it
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, region.Unmap()) }()
	mem, err := memory.New(region)
	if err != nil {
		return nil, err
	}
	host, line := &virtiotest.Host{}, &virtiotest.Line{}
	function, err := pci.New(card, mem, host, pci.Options{Line: line, Direct: p.direct, Observer: r})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, function.Close()) }()
	regs, err := virtiotest.NewPCI(host, function, barAt, line, true)
	if err != nil {
		return nil, err
	}
	d := &driver{PCI: regs, mem: mem, free: 0x1000}
	if err := d.start(); err != nil {
		return nil, err
	}
	for i := range frames {
		h, err := d.send(i)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
		var got []byte
		if got, h[onLink], err = w.receive(); err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
		if want := frame(i); !bytes.Equal(got, want[net.HeaderSize:]) {
			return nil, fmt.Errorf("frame %d came out as %x, want %x", i, got, want[net.HeaderSize:])
		}
		list = append(list, h)
	}
	return list, nil
}

// driver is the guest's side. Lesson 12 has a ring by hand; here it is virtiotest's.
type driver struct {
	*virtiotest.PCI
	mem    *memory.Space
	free   uint64
	rings  [2]*virtiotest.Ring
	notify uint64 // where the transmit queue's kicks go
}

func (d *driver) alloc(n, align uint64) uint64 {
	at := (d.free + align - 1) &^ (align - 1)
	d.free = at + n
	return at
}

// start goes through what virtio 1.2, section 3.1.1 has a driver do.
func (d *driver) start() error {
	const found = virtio.StatusAcknowledge | virtio.StatusDriver
	d.SetStatus(0)
	d.SetStatus(found)
	d.SetDriverFeatures(d.DeviceFeatures() & (1<<virtio.FeatureVersion1 | 1<<virtio.FeatureEventIdx))
	d.SetStatus(found | virtio.StatusFeaturesOK)
	for i := range d.rings {
		d.rings[i] = virtiotest.NewRing(d.mem, ringSize, d.alloc)
		d.rings[i].EventIdx = true
		d.SetQueue(i, ringSize, d.rings[i].Desc, d.rings[i].Avail, d.rings[i].Used)
		d.Enable(i)
	}
	d.SetInterrupts(len(d.rings))
	// A queue's doorbell is at queue_notify_off * notify_off_multiplier: section 4.1.4.4.
	var off [2]byte
	d.Host.Read(virtio.MMIO, d.BAR+d.Caps[1].Offset+30, off[:]) // of the queue selected last
	d.notify = uint64(binary.LittleEndian.Uint16(off[:])) * uint64(d.Get32(d.Caps[2].At+16))
	d.SetStatus(found | virtio.StatusFeaturesOK | virtio.StatusDriverOK)
	if s := d.Status(); s&virtio.StatusNeedsReset != 0 {
		return fmt.Errorf("the card's status is %#x", s)
	}
	return nil
}

// frame is a header without any wishes, and an Ethernet frame to nobody.
func frame(i int) []byte {
	b := make([]byte, net.HeaderSize+frameSize)
	copy(b[net.HeaderSize:], []byte{0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, etherType >> 8, etherType & 0xff})
	copy(b[net.HeaderSize+14:], fmt.Sprintf("frame %d", i))
	return b
}

// send sends a frame, and takes its buffer back.
func (d *driver) send(i int) (h hops, err error) {
	ring := d.rings[transmitQueue]
	at := d.alloc(net.HeaderSize+frameSize, 16)
	defer func() { d.free = at }()
	buffer, err := d.mem.Slice(at, net.HeaderSize+frameSize)
	if err != nil {
		return h, err
	}
	copy(buffer, frame(i))
	ring.Put(virtiotest.Piece{GPA: at, Len: uint32(len(buffer))})
	if err := d.deviceSleeps(ring); err != nil {
		return h, err
	}
	ring.WantCall(0)
	h[raised] = now()
	ring.Publish()
	d.NotifyAt(d.notify, transmitQueue)
	h[goesOn] = now()
	for {
		if _, ok := ring.Take(); ok {
			h[woken] = now()
			return h, nil
		}
		if ring.WantCall(0) {
			continue
		}
		if !d.WaitQueue(transmitQueue, patience) {
			return h, fmt.Errorf("no call, status %#x", d.Status())
		}
	}
}

// deviceSleeps waits until the device has asked for a kick with the frame that comes: every frame finds it asleep.
func (d *driver) deviceSleeps(ring *virtiotest.Ring) error {
	event, err := d.mem.Slice(ring.Used+4+8*ringSize, 2) // avail_event: virtio 1.2, section 2.7.8
	if err != nil {
		return err
	}
	for end := time.Now().Add(patience); binary.LittleEndian.Uint16(event) != ring.AvailIdx()-1; runtime.Gosched() {
		if time.Now().After(end) {
			return fmt.Errorf("the device does not ask for a kick with %d", ring.AvailIdx()-1)
		}
	}
	return nil
}
