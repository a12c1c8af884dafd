package blk

import "encoding/binary"

// blockRange is struct virtio_blk_discard_write_zeroes: what a discard and a
// write-zeroes request have as data, several times. virtio 1.2, section 5.2.6.
type blockRange struct {
	sector  uint64
	sectors uint32
	flags   uint32
}

const (
	rangeSize = 16
	// flagUnmap allows a write-zeroes to give up the storage.
	flagUnmap = 1
)

// onRanges parses and checks all ranges of a request before anything is done to the
// first one: a bad request changes nothing.
func (r *requests) onRanges(req *request, feature uint, do func([]blockRange) status) status {
	if r.d.agreed.Load()&(1<<feature) == 0 {
		return statusUnsupp
	}
	n := req.readLen / rangeSize
	if req.writeLen != 0 || req.readLen%rangeSize != 0 || n == 0 || n > maxRanges {
		return statusIOErr
	}
	ranges := r.ranges[:n]
	for i := range ranges {
		req.readable = take(req.readable, r.raw[:])
		ranges[i] = blockRange{
			sector:  binary.LittleEndian.Uint64(r.raw[:]),
			sectors: binary.LittleEndian.Uint32(r.raw[8:]),
			flags:   binary.LittleEndian.Uint32(r.raw[12:]),
		}
	}
	for _, g := range ranges {
		if g.flags&^flagUnmap != 0 || feature == featureDiscard && g.flags != 0 {
			return statusUnsupp // virtio 1.2, section 5.2.6.2
		}
		limit := uint32(maxZeroes)
		if feature == featureDiscard {
			limit = maxDiscard
		}
		if g.sectors > limit || !r.inside(g.sector, uint64(g.sectors)<<sectorShift) {
			return statusIOErr
		}
	}
	s := do(ranges)
	if s == statusOK && !r.d.cached.Load() {
		s = r.result(r.d.file.sync())
	}
	return s
}

func (r *requests) discard(ranges []blockRange) status {
	for _, g := range ranges {
		if g.sectors == 0 {
			continue // fallocate takes no empty range
		}
		if err := r.d.file.discard(int64(g.sector<<sectorShift), int64(g.sectors)<<sectorShift); err != nil {
			return r.result(err)
		}
	}
	return statusOK
}

func (r *requests) writeZeroes(ranges []blockRange) status {
	for _, g := range ranges {
		if g.sectors == 0 {
			continue
		}
		err := r.d.file.zero(&r.vector, int64(g.sector<<sectorShift), int64(g.sectors)<<sectorShift, g.flags&flagUnmap != 0)
		if err != nil {
			return r.result(err)
		}
	}
	return statusOK
}
