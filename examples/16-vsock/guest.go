package main

import (
	"errors"
	"fmt"

	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/pci"
	"tandem/virtio/virtiotest"
	"tandem/virtio/vsock"
)

// The queues. virtio 1.2, section 5.10.2.
const (
	receiveQueue = iota
	transmitQueue
	eventQueue
	numQueues
)

const (
	memorySize = 1 << 20
	barAt      = 0xc000_0000
	ringSize   = 8
	roomSize   = 4096
)

// guest is a machine with a socket device and no processor: this program is its driver.
type guest struct {
	*virtiotest.PCI
	device   *vsock.Device
	function *pci.Function
	region   memory.Region
	mem      *memory.Space
	free     uint64
	rings    [numQueues]*virtiotest.Ring
	rooms    map[uint32]virtiotest.Piece // of the receive queue, by head
}

func newGuest(path string) (g *guest, err error) {
	g = &guest{free: 0x1000, rooms: map[uint32]virtiotest.Piece{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.region, err = memory.Map(0, memorySize); err != nil {
		return g, err
	}
	if g.mem, err = memory.New(g.region); err != nil {
		return g, err
	}
	if g.device, err = vsock.New(vsock.Spec{CID: guestCID, Path: path}); err != nil {
		return g, err
	}
	host, line := &virtiotest.Host{}, &virtiotest.Line{}
	if g.function, err = pci.New(g.device, g.mem, host, pci.Options{Line: line}); err != nil {
		return g, err
	}
	if g.PCI, err = virtiotest.NewPCI(host, g.function, barAt, line, true); err != nil {
		return g, err
	}
	return g, g.start()
}

func (g *guest) alloc(n, align uint64) uint64 {
	at := (g.free + align - 1) &^ (align - 1)
	g.free = at + n
	return at
}

// start is a driver's beginning, with room for packets in the receive queue.
func (g *guest) start() error {
	const found = virtio.StatusAcknowledge | virtio.StatusDriver
	g.SetStatus(0)
	g.SetStatus(found)
	g.SetDriverFeatures(1<<virtio.FeatureVersion1 | 1<<vsock.FeatureStream)
	g.SetStatus(found | virtio.StatusFeaturesOK)
	for i := range g.rings {
		g.rings[i] = virtiotest.NewRing(g.mem, ringSize, g.alloc)
		g.SetQueue(i, ringSize, g.rings[i].Desc, g.rings[i].Avail, g.rings[i].Used)
		g.Enable(i)
	}
	g.SetInterrupts(numQueues)
	g.SetStatus(found | virtio.StatusFeaturesOK | virtio.StatusDriverOK)
	if s := g.Status(); s&virtio.StatusNeedsReset != 0 {
		return fmt.Errorf("the device's status is %#x", s)
	}
	for range ringSize {
		room := virtiotest.Piece{GPA: g.alloc(roomSize, 16), Len: roomSize, Write: true}
		g.rooms[uint32(g.rings[receiveQueue].Offer(room))] = room
	}
	g.Notify(receiveQueue)
	return nil
}

func (g *guest) close() error {
	var errs []error
	if g.function != nil {
		errs = append(errs, g.function.Close())
	}
	if g.device != nil {
		errs = append(errs, g.device.Close())
	}
	if g.region.Bytes != nil {
		errs = append(errs, g.region.Unmap())
	}
	return errors.Join(errs...)
}

// wait waits for the next chain that comes back.
func (g *guest) wait(queue int) (virtiotest.Used, error) {
	ring := g.rings[queue]
	for {
		if u, ok := ring.Take(); ok {
			return u, nil
		}
		if ring.WantCall(0) {
			continue
		}
		if !g.WaitQueue(queue, patience) {
			return virtiotest.Used{}, fmt.Errorf("queue %d: no call, status %#x", queue, g.Status())
		}
	}
}

// send sends a packet.
func (g *guest) send(h header, op uint16, data string) error {
	h.op, h.length = op, uint32(len(data))
	show("driver sends", h, data)
	b := append(h.encode(), data...)
	at := g.alloc(uint64(len(b)), 16)
	to, err := g.mem.Slice(at, uint64(len(b)))
	if err != nil {
		return err
	}
	copy(to, b)
	g.rings[transmitQueue].Offer(virtiotest.Piece{GPA: at, Len: uint32(len(b))})
	g.Notify(transmitQueue)
	_, err = g.wait(transmitQueue)
	return err
}

// receive is the next packet, which has to be of that kind.
func (g *guest) receive(op uint16) (header, error) {
	u, err := g.wait(receiveQueue)
	if err != nil {
		return header{}, err
	}
	room := g.rooms[u.Head]
	b, err := g.mem.Slice(room.GPA, uint64(u.Len))
	if err != nil || len(b) < headerSize {
		return header{}, errors.Join(fmt.Errorf("a packet of %d bytes", u.Len), err)
	}
	h := decode(b)
	show("driver gets ", h, string(b[headerSize:]))
	delete(g.rooms, u.Head)
	g.rooms[uint32(g.rings[receiveQueue].Offer(room))] = room
	g.Notify(receiveQueue)
	if h.op != op || int(h.length) != len(b)-headerSize {
		return h, fmt.Errorf("%v with %d bytes came, want %s", h, len(b)-headerSize, opNames[op])
	}
	return h, nil
}

func show(what string, h header, data string) {
	if data != "" {
		data = fmt.Sprintf(": %q", data)
	}
	fmt.Printf("  %s %v%s\n", what, h, data)
}
