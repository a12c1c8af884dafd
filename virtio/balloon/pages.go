package balloon

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tandem/virtio/queue"
)

// maxPages is how many page numbers a chain may have: a gigabyte's. Linux sends 256 at a time.
const maxPages = 1 << 18

// pages serves a queue of page numbers.
type pages struct {
	device  *Device
	do      func(gpa, n uint64)
	numbers []uint32 // of the chain in hand: storage for the next
}

// serve is a virtio.Serve. A chain is a list of page numbers, 32 bits each.
func (s *pages) serve(q *queue.Queue, c *queue.Chain) (uint32, error) {
	switch {
	case c.ReadLen%4 != 0:
		return 0, q.Broken(c, "a list of page numbers that ends in the middle of one")
	case c.ReadLen > 4*maxPages:
		return 0, q.Broken(c, "more page numbers than a balloon takes at once")
	}
	s.read(c.Readable)
	slices.Sort(s.numbers)
	for gpa, n := range runs(s.numbers) {
		s.do(gpa, n)
	}
	return 0, nil
}

// read copies the numbers: the driver may change them meanwhile, and may have cut the list anywhere.
func (s *pages) read(list [][]byte) {
	s.numbers = s.numbers[:0]
	var number [4]byte
	have := 0
	for _, p := range list {
		for have > 0 && len(p) > 0 {
			number[have] = p[0]
			p = p[1:]
			if have = (have + 1) % 4; have == 0 {
				s.numbers = append(s.numbers, binary.LittleEndian.Uint32(number[:]))
			}
		}
		for ; len(p) >= 4; p = p[4:] {
			s.numbers = append(s.numbers, binary.LittleEndian.Uint32(p))
		}
		if len(p) > 0 {
			have = copy(number[:], p)
		}
	}
}

// runs gives the ranges of memory that sorted page numbers make, each page once.
func runs(sorted []uint32) func(yield func(gpa, n uint64) bool) {
	return func(yield func(gpa, n uint64) bool) {
		for len(sorted) > 0 {
			first, last := sorted[0], sorted[0]
			i := 1
			for ; i < len(sorted) && sorted[i]-last <= 1; i++ {
				last = sorted[i]
			}
			sorted = sorted[i:]
			if !yield(uint64(first)*PageSize, (uint64(last)-uint64(first)+1)*PageSize) {
				return
			}
		}
	}
}

// inflate gives what it can of a range back to the host.
func (d *Device) inflate(gpa, n uint64) {
	d.within(gpa, n, func(mem []byte) {
		if d.giveBack(mem) {
			d.count.inflated.Add(uint64(len(mem)))
		}
	})
}

// deflate has nothing to do: the guest's next touch has the host find a page. (So there is no need for
// VIRTIO_BALLOON_F_MUST_TELL_HOST.)
func (d *Device) deflate(gpa, n uint64) {
	d.within(gpa, n, func(mem []byte) { d.count.deflated.Add(uint64(len(mem))) })
}

// within calls f with those parts of a range that are guest memory. The rest is refused.
func (d *Device) within(gpa, n uint64, f func(mem []byte)) {
	end := gpa + n
	refused := n
	for _, r := range d.mem.Regions() {
		from, to := max(gpa, r.GPA), min(end, r.End())
		if from >= to {
			continue
		}
		mem, err := d.mem.Slice(from, to-from)
		if err != nil {
			continue // there is none
		}
		refused -= to - from
		f(mem)
	}
	d.count.refused.Add((refused + PageSize - 1) / PageSize)
}

// serveReport is the virtio.Serve of the reporting queue: the pieces of a chain are free pages (virtio 1.2, section
// 5.5.6.7).
func (d *Device) serveReport(_ *queue.Queue, c *queue.Chain) (uint32, error) {
	keep := !d.has(FeatureReporting) || d.has(FeaturePagePoison) && (d.poison() != 0 || !d.shared)
	for _, mem := range c.Writable {
		if mem = whole(mem); len(mem) == 0 {
			continue
		}
		switch {
		case keep:
			d.count.kept.Add(uint64(len(mem)))
		case d.giveBack(mem):
			d.count.reported.Add(uint64(len(mem)))
		}
	}
	return 0, nil
}

// giveBack drops pages, and tells whether the host took them.
func (d *Device) giveBack(mem []byte) bool {
	err := drop(mem, d.shared)
	if err == nil {
		return true
	}
	d.count.failed.Add(uint64(len(mem)))
	if d.spec.Report != nil && d.count.told.CompareAndSwap(false, true) {
		d.spec.Report(fmt.Errorf("virtio/balloon: give back %d bytes: %w (this is said once)", len(mem), err))
	}
	return false
}
