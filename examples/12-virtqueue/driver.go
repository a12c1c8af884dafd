package main

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
)

// Where the driver puts things in the guest's memory.
const (
	memorySize = 0x4000
	descAt     = 0x0000 // the descriptor table: 16 bytes each
	availAt    = 0x1000 // flags, idx, a slot of 2 bytes for each chain, used_event
	usedAt     = 0x2000 // flags, idx, a slot of 8 bytes for each chain, avail_event
	buffersAt  = 0x3000
)

// Flags. virtio 1.2, sections 2.7.5, 2.7.7, 2.7.9.
const (
	descNext       = 1
	descWrite      = 2
	availNoCalls   = 1
	usedNoKicks    = 1
	indexShift     = 16 // flags and idx are 16 bits each: one word of 32 has both
	ringSlots      = 4
	availSlot      = 2
	usedSlot       = 8
	descriptorSize = 16
)

// driver is the guest's side of a virtqueue.
type driver struct {
	memory []byte
	size   uint16
	events bool // VIRTIO_F_EVENT_IDX was agreed on

	flags  uint32 // in the available ring
	avail  uint16 // idx there: the chains made available so far, modulo 65536
	kicked uint16 // what avail was when the device was last looked at
	used   uint16 // the chains taken back so far
}

// describe fills a descriptor.
func (d *driver) describe(i uint16, addr uint64, length uint32, flags, next uint16) {
	b := d.memory[descAt+descriptorSize*int(i):]
	binary.LittleEndian.PutUint64(b, addr)
	binary.LittleEndian.PutUint32(b[8:], length)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

// slot writes a chain's first descriptor into the next slot of the available ring. Nobody looks there yet.
func (d *driver) slot(head uint16) {
	at := availAt + ringSlots + availSlot*int(d.avail%d.size)
	binary.LittleEndian.PutUint16(d.memory[at:], head)
	d.avail++
}

// publish raises idx: all that was written before can be seen by one who sees this. (sync/atomic's stores are full
// fences on x86, which wantsKick needs behind it: the device writes its wish, and then looks at idx.)
func (d *driver) publish() {
	atomic.StoreUint32(word(d.memory[availAt:]), d.flags|uint32(d.avail)<<indexShift)
}

// wantsKick asks whether the device is to be told of what was published.
func (d *driver) wantsKick() bool {
	before := d.kicked
	d.kicked = d.avail
	if !d.events {
		return atomic.LoadUint32(word(d.memory[usedAt:]))&usedNoKicks == 0
	}
	event := uint16(atomic.LoadUint32(word(d.memory[d.availEventAt():])))
	return d.avail-event-1 < d.avail-before // it was passed: virtio 1.2, section 2.7.10
}

func (d *driver) availEventAt() int { return usedAt + ringSlots + usedSlot*int(d.size) }
func (d *driver) usedEventAt() int  { return availAt + ringSlots + availSlot*int(d.size) }

// wantCall asks the device for a call: by its flag, when it gives back any chain; by an event index, when it gives back the last
// of the next n.
func (d *driver) wantCall(n uint16) {
	if d.events {
		atomic.StoreUint32(word(d.memory[d.usedEventAt():]), uint32(d.used+n-1))
		return
	}
	d.flags &^= availNoCalls
	d.publish()
}

// wantNoCall asks the device for silence. An index does it that the device has passed already.
func (d *driver) wantNoCall() {
	if d.events {
		atomic.StoreUint32(word(d.memory[d.usedEventAt():]), uint32(d.used-1))
		return
	}
	d.flags |= availNoCalls
	d.publish()
}

// usedIndex is how many chains the device gave back, modulo 65536.
func (d *driver) usedIndex() uint16 {
	return uint16(atomic.LoadUint32(word(d.memory[usedAt:])) >> indexShift)
}

var errWrongChain = errors.New("the device gave back a chain that it did not have")

// take takes a chain back, if the device gave one.
func (d *driver) take() (head uint16, written uint32, ok bool, err error) {
	if d.usedIndex() == d.used {
		return 0, 0, false, nil
	}
	b := d.memory[usedAt+ringSlots+usedSlot*int(d.used%d.size):]
	d.used++
	id, written := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if id >= uint32(d.size) { // a driver does not trust its device either
		return 0, 0, false, errWrongChain
	}
	return uint16(id), written, true, nil
}
