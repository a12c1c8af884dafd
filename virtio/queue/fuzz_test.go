package queue_test

import (
	"encoding/binary"
	"testing"

	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// FuzzQueue gives a device a ring of arbitrary bytes in arbitrary places. It may
// refuse, but what it accepts has to be guest memory, of the length that it says,
// and bounded.
//
// The input is a header (sizes and addresses, 16 bits each in units that reach
// beyond memory, and options), and then the content of memory from 0 on.
func FuzzQueue(f *testing.F) {
	seed := func(size uint16, options byte, fill func(b []byte)) {
		in := make([]byte, 16+0x400)
		binary.LittleEndian.PutUint16(in, size)
		binary.LittleEndian.PutUint16(in[2:], 0)        // descriptors
		binary.LittleEndian.PutUint16(in[4:], 0x200/16) // available ring
		binary.LittleEndian.PutUint16(in[6:], 0x300/16) // used ring
		in[8] = options
		fill(in[16:])
		f.Add(in)
	}
	avail := func(b []byte, heads ...uint16) {
		binary.LittleEndian.PutUint16(b[0x202:], uint16(len(heads)))
		for i, h := range heads {
			binary.LittleEndian.PutUint16(b[0x204+2*i:], h)
		}
	}
	// A block read, as Linux makes it: header, data, status.
	seed(16, 0, func(b []byte) {
		virtiotest.PutDesc(b, 0x400, 16, virtiotest.Next, 1)
		virtiotest.PutDesc(b[16:], 0x1000, 4096, virtiotest.Next|virtiotest.Write, 2)
		virtiotest.PutDesc(b[32:], 0x410, 1, virtiotest.Write, 0)
		avail(b, 0)
	})
	// Two packets in indirect tables.
	seed(16, 3, func(b []byte) {
		for i := range 2 {
			virtiotest.PutDesc(b[16*i:], uint64(0x100+0x40*i), 0x40, virtiotest.Indirect, 0)
			for j := range uint16(4) {
				virtiotest.PutDesc(b[0x100+0x40*i+16*int(j):], 0x2000, 1500, virtiotest.Next*min(1, 3-j), j+1)
			}
		}
		avail(b, 0, 1)
	})
	// A loop, and the last byte of memory.
	seed(2, 0, func(b []byte) {
		virtiotest.PutDesc(b, memSize-1, 1, virtiotest.Next, 1)
		virtiotest.PutDesc(b[16:], memSize-1, 2, virtiotest.Next, 0)
		avail(b, 1, 0)
	})
	seed(32768, 3, func([]byte) {})

	mem := newMemory(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 16 {
			return
		}
		header, content := in[:16], in[16:]
		for _, r := range mem.Regions() {
			clear(r.Bytes[:min(len(r.Bytes), 0x20000)])
		}
		if _, err := mem.WriteAt(content[:min(len(content), memSize)], 0); err != nil {
			t.Fatal(err)
		}
		at := func(i int) uint64 { return 16 * uint64(binary.LittleEndian.Uint16(header[i:])) }
		var n calls
		q, err := queue.New(mem, queue.Config{
			Size: binary.LittleEndian.Uint16(header),
			Desc: at(2), Avail: at(4), Used: at(6),
			Indirect: header[8]&1 != 0, EventIdx: header[8]&2 != 0,
			Start:     binary.LittleEndian.Uint16(header[10:]),
			Interrupt: &n,
		})
		if err != nil {
			return
		}
		b := &bench{mem: mem}
		var c queue.Chain
		for range 64 {
			q.DisableKicks()
			ok, err := q.Pop(&c)
			if err != nil {
				break
			}
			if !ok {
				q.EnableKicks()
				break
			}
			if got := b.total(c.Readable); got != c.ReadLen {
				t.Fatalf("readable: %d bytes of guest memory, ReadLen %d", got, c.ReadLen)
			}
			if got := b.total(c.Writable); got != c.WriteLen {
				t.Fatalf("writable: %d bytes of guest memory, WriteLen %d", got, c.WriteLen)
			}
			if n := len(c.Readable) + len(c.Writable); n == 0 || n > 2*(queue.MaxSize+1024) || c.ReadLen+c.WriteLen > 1<<32 {
				t.Fatalf("%d pieces with %d bytes", n, c.ReadLen+c.WriteLen)
			}
			q.Push(c.Head, uint32(c.WriteLen))
			q.Publish()
		}
	})
}

// total is how many bytes of guest memory the pieces have.
func (b *bench) total(pieces [][]byte) (n uint64) {
	for _, p := range b.gpas(pieces) {
		n += uint64(p.Len)
	}
	return n
}
