package queue

import (
	"encoding/binary"

	"tandem/virtio/memory"
)

// Flags of a descriptor. virtio 1.2, section 2.7.5.
const (
	descNext     = 1 // VIRTQ_DESC_F_NEXT
	descWrite    = 2 // VIRTQ_DESC_F_WRITE
	descIndirect = 4 // VIRTQ_DESC_F_INDIRECT
)

// maxIndirect bounds the pieces of a chain in an indirect table. A driver must not
// make chains longer than the queue (virtio 1.2, section 2.7.5.3.1), but Linux
// takes what fits into its table; it is also what one preadv takes.
const maxIndirect = 1024

// maxBytes bounds the sum of a chain's pieces. virtio 1.2, section 2.7.4.2.
const maxBytes = 1 << 32

// Chain is one buffer that the driver offered: a list of pieces that the device
// reads and a list that it writes, all checked and in guest memory. The zero Chain
// is ready for Pop, which reuses its storage.
//
// A device may shorten and advance the two lists as it goes. How a driver cuts a
// buffer into pieces has no meaning (virtio 1.2, section 2.7.4): a header may be
// spread over several.
type Chain struct {
	Head  uint16 // the first descriptor: what the driver knows the chain by
	Index uint16 // where it stood: the available index, modulo 65536

	Readable [][]byte
	Writable [][]byte

	ReadLen  uint64 // bytes that Pop found in Readable
	WriteLen uint64 // bytes that Pop found in Writable

	// The lists as Pop made them: the storage for the next Pop.
	readable, writable [][]byte
}

func (c *Chain) reset(head, index uint16) {
	c.Head, c.Index = head, index
	c.ReadLen, c.WriteLen = 0, 0
	c.readable, c.writable = c.readable[:0], c.writable[:0]
}

// descriptor is struct virtq_desc.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// load copies descriptor i out of a table. The driver may change the table at any
// time: only the copy is checked, and only the copy is used.
func load(table []byte, i uint32) descriptor {
	b := table[i*descSize:][:descSize]
	return descriptor{
		addr:  binary.LittleEndian.Uint64(b),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

// walk follows the descriptors of a chain and collects its pieces. A chain starts
// in the queue's own table, and may end with a descriptor that points to an
// indirect table, which holds the rest.
func (q *Queue) walk(c *Chain) *Error {
	table, entries := q.desc, uint32(q.size)
	left := entries // a chain that visits more descriptors than there are is a loop
	i, indirect := uint32(c.Head), false
	if i >= entries {
		return c.broken("head is beyond the table of %d", entries)
	}
	if q.marks != nil {
		q.marks.begin(c.Head)
	}
	for {
		d := load(table, i)
		if left--; d.flags&descIndirect != 0 {
			sub, err := q.enter(c, d, indirect)
			if err != nil {
				return err
			}
			table, entries = sub, uint32(len(sub)/descSize)
			left = min(entries, max(uint32(q.size), maxIndirect))
			i, indirect = 0, true
			continue
		}
		if err := c.add(q.mem, d); err != nil {
			return err
		}
		if q.marks != nil && d.flags&descWrite != 0 {
			q.marks.add(c.Head, d.addr, uint64(d.len))
		}
		if d.flags&descNext == 0 {
			break
		}
		if i = uint32(d.next); i >= entries {
			return c.broken("next descriptor %d is beyond the table of %d", i, entries)
		}
		if left == 0 {
			return c.broken("a loop, or more pieces than a chain may have")
		}
	}
	c.Readable, c.Writable = c.readable, c.writable
	return nil
}

// enter checks a descriptor that points to an indirect table and returns the table.
// virtio 1.2, section 2.7.5.3.
func (q *Queue) enter(c *Chain, d descriptor, indirect bool) ([]byte, *Error) {
	switch {
	case !q.cfg.Indirect:
		return nil, c.broken("an indirect table, which was not agreed upon")
	case indirect:
		return nil, c.broken("an indirect table inside an indirect table")
	case d.flags&descNext != 0:
		return nil, c.broken("an indirect table that continues in the main table")
	case d.len == 0 || d.len%descSize != 0:
		return nil, c.broken("an indirect table of %d bytes", d.len)
	}
	table, err := q.mem.Slice(d.addr, uint64(d.len))
	if err != nil {
		return nil, c.brokenBy(err, "indirect table")
	}
	return table, nil
}

// add appends the piece that a descriptor names to one of the two lists.
func (c *Chain) add(mem *memory.Space, d descriptor) *Error {
	n := uint64(d.len)
	if n == 0 {
		return c.broken("a piece of no length")
	}
	if c.ReadLen+c.WriteLen+n > maxBytes {
		return c.broken("more than %d bytes", uint64(maxBytes))
	}
	var err error
	if d.flags&descWrite != 0 {
		c.writable, err = mem.Append(c.writable, d.addr, n)
		c.WriteLen += n
	} else {
		if c.WriteLen != 0 {
			return c.broken("a readable piece after a writable one")
		}
		c.readable, err = mem.Append(c.readable, d.addr, n)
		c.ReadLen += n
	}
	if err != nil {
		return c.brokenBy(err, "piece")
	}
	return nil
}
