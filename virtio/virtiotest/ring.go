package virtiotest

import (
	"encoding/binary"
	"fmt"

	"tandem/virtio/internal/atomic16"
	"tandem/virtio/memory"
)

// Descriptor flags, to break rings by hand with. virtio 1.2, section 2.7.5.
const (
	Next     = 1
	Write    = 2
	Indirect = 4
)

// Piece is a part of a buffer.
type Piece struct {
	GPA   uint64
	Len   uint32
	Write bool // the device writes it
}

// Used is what the device said of a chain that it gave back.
type Used struct {
	Head uint32
	Len  uint32
}

// Ring is the driver's side of a split virtqueue. One goroutine may use it.
type Ring struct {
	Size              uint16
	Desc, Avail, Used uint64
	EventIdx          bool

	mem               *memory.Space
	desc, avail, used []byte

	free      []uint16 // descriptors that are not in flight
	held      []uint16 // by head: how many descriptors it took
	availIdx  uint16   // published
	kickedIdx uint16   // availIdx when NeedsKick was last asked
	usedIdx   uint16   // looked at
}

// NewRing lays a ring out in zeroed guest memory that alloc gives.
func NewRing(mem *memory.Space, size uint16, alloc func(n, align uint64) uint64) *Ring {
	n := uint64(size)
	return AdoptRing(mem, size, alloc(16*n, 16), alloc(6+2*n, 2), alloc(6+8*n, 4))
}

// AdoptRing uses areas that lie where the caller wants them.
func AdoptRing(mem *memory.Space, size uint16, desc, avail, used uint64) *Ring {
	r := &Ring{
		Size: size, Desc: desc, Avail: avail, Used: used, mem: mem,
		held: make([]uint16, size),
	}
	n := uint64(size)
	r.desc, r.avail, r.used = must(mem.Slice(desc, 16*n)), must(mem.Slice(avail, 6+2*n)), must(mem.Slice(used, 6+8*n))
	for i := size; i > 0; i-- {
		r.free = append(r.free, i-1)
	}
	return r
}

// StartAt has both indices begin somewhere else than at 0.
func (r *Ring) StartAt(idx uint16) {
	r.usedIdx, r.kickedIdx = idx, idx
	r.SetAvailIdx(idx)
	atomic16.Store(atomic16.At(r.used, 2), idx)
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// SetDesc writes a descriptor as it is told, right or wrong.
func (r *Ring) SetDesc(i uint16, addr uint64, n uint32, flags, next uint16) {
	PutDesc(r.desc[16*int(i):], addr, n, flags, next)
}

// PutDesc writes a descriptor, such as into an indirect table.
func PutDesc(b []byte, addr uint64, n uint32, flags, next uint16) {
	binary.LittleEndian.PutUint64(b, addr)
	binary.LittleEndian.PutUint32(b[8:], n)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

// SetAvail makes a head available without any check.
func (r *Ring) SetAvail(head uint16) {
	r.put(head)
	r.Publish()
}

// put fills the next slot of the available ring; Publish makes it visible.
func (r *Ring) put(head uint16) {
	binary.LittleEndian.PutUint16(r.avail[4+2*int(r.availIdx&(r.Size-1)):], head)
	r.availIdx++
}

// Publish makes visible to the device what was put.
func (r *Ring) Publish() { r.SetAvailIdx(r.availIdx) }

// SetAvailIdx writes the available index as it is told, right or wrong.
func (r *Ring) SetAvailIdx(idx uint16) {
	r.availIdx = idx
	atomic16.Store(atomic16.At(r.avail, 2), idx)
}

// AvailIdx is the available index that comes next.
func (r *Ring) AvailIdx() uint16 { return r.availIdx }

// Put fills descriptors for a buffer, which Publish makes available. It panics if
// there are too few: tests do not overrun their ring by accident.
func (r *Ring) Put(pieces ...Piece) (head uint16) {
	n := len(pieces)
	if n == 0 || n > len(r.free) {
		panic(fmt.Sprintf("virtiotest: %d pieces, %d free descriptors", n, len(r.free)))
	}
	ids := r.free[len(r.free)-n:]
	for i, p := range pieces {
		flags, next := uint16(0), uint16(0)
		if p.Write {
			flags |= Write
		}
		if i+1 < n {
			flags |= Next
			next = ids[i+1]
		}
		r.SetDesc(ids[i], p.GPA, p.Len, flags, next)
	}
	head = ids[0]
	r.free = r.free[:len(r.free)-n]
	r.held[head] = uint16(n)
	r.put(head)
	return head
}

// Offer makes a buffer available.
func (r *Ring) Offer(pieces ...Piece) (head uint16) {
	head = r.Put(pieces...)
	r.Publish()
	return head
}

// OfferIndirect makes a buffer available through an indirect table at the given
// address, which has room for it.
func (r *Ring) OfferIndirect(table uint64, pieces ...Piece) (head uint16) {
	b := must(r.mem.Slice(table, 16*uint64(len(pieces))))
	for i, p := range pieces {
		flags := uint16(0)
		if p.Write {
			flags |= Write
		}
		if i+1 < len(pieces) {
			flags |= Next
		}
		PutDesc(b[16*i:], p.GPA, p.Len, flags, uint16(i+1))
	}
	head = r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.held[head] = 1
	r.SetDesc(head, table, uint32(len(b)), Indirect, 0)
	r.SetAvail(head)
	return head
}

// Take is the next chain that the device gave back, if there is one.
func (r *Ring) Take() (Used, bool) {
	if atomic16.Load(atomic16.At(r.used, 2)) == r.usedIdx {
		return Used{}, false
	}
	elem := r.used[4+8*int(r.usedIdx&(r.Size-1)):]
	u := Used{Head: binary.LittleEndian.Uint32(elem), Len: binary.LittleEndian.Uint32(elem[4:])}
	r.usedIdx++
	r.release(uint16(u.Head))
	return u, true
}

// release frees a chain's descriptors. Chains made by hand have none.
func (r *Ring) release(head uint16) {
	if head >= r.Size {
		return
	}
	n := r.held[head]
	r.held[head] = 0
	for ; n > 0; n-- {
		r.free = append(r.free, head)
		head = binary.LittleEndian.Uint16(r.desc[16*int(head)+14:])
	}
}

// UsedIdx is the device's used index.
func (r *Ring) UsedIdx() uint16 { return atomic16.Load(atomic16.At(r.used, 2)) }

// NeedsKick tells whether the device wants a kick for what was published since
// NeedsKick was last asked.
func (r *Ring) NeedsKick() bool {
	old := r.kickedIdx
	r.kickedIdx = r.availIdx
	if r.EventIdx {
		event := atomic16.Load(atomic16.At(r.used, 4+8*int(r.Size)))
		return r.availIdx-event-1 < r.availIdx-old
	}
	return atomic16.Load(atomic16.At(r.used, 0))&1 == 0
}

// WantCall asks for a call with the next chain (or, with event indices, after ahead
// more of them), and tells whether chains came back that no call will announce.
func (r *Ring) WantCall(ahead uint16) (more bool) {
	if r.EventIdx {
		atomic16.Store(atomic16.At(r.avail, 4+2*int(r.Size)), r.usedIdx+ahead)
	} else {
		atomic16.Store(atomic16.At(r.avail, 0), 0)
	}
	return r.UsedIdx()-r.usedIdx > ahead
}

// NoCall asks for no calls.
func (r *Ring) NoCall() {
	if r.EventIdx {
		// Half way round: not passed soon.
		atomic16.Store(atomic16.At(r.avail, 4+2*int(r.Size)), r.usedIdx-0x8000)
		return
	}
	atomic16.Store(atomic16.At(r.avail, 0), 1)
}
