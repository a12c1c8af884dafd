package blk

import (
	"encoding/binary"

	"tandem/virtio"
	"tandem/virtio/internal/iovec"
	"tandem/virtio/queue"
)

const (
	sectorSize  = 512 // the unit of all sector numbers, whatever blk_size is
	sectorShift = 9
	headerSize  = 16 // struct virtio_blk_req up to the data
)

// Request types. virtio 1.2, section 5.2.6.
const (
	typeIn          = 0  // VIRTIO_BLK_T_IN
	typeOut         = 1  // VIRTIO_BLK_T_OUT
	typeFlush       = 4  // VIRTIO_BLK_T_FLUSH
	typeGetID       = 8  // VIRTIO_BLK_T_GET_ID
	typeDiscard     = 11 // VIRTIO_BLK_T_DISCARD
	typeWriteZeroes = 13 // VIRTIO_BLK_T_WRITE_ZEROES
)

// status is a request's last byte.
type status byte

const (
	statusOK     status = 0 // VIRTIO_BLK_S_OK
	statusIOErr  status = 1 // VIRTIO_BLK_S_IOERR
	statusUnsupp status = 2 // VIRTIO_BLK_S_UNSUPP
)

// requests carries out the requests of one queue, one at a time.
type requests struct {
	d      *Disk
	vector iovec.Vector
	header [headerSize]byte
	ranges [maxRanges]blockRange
	raw    [rangeSize]byte
}

func newRequests(d *Disk) *requests { return &requests{d: d} }

// request is one that has been taken apart: what is left to read and to write of
// its chain are the data.
type request struct {
	kind     uint32
	sector   uint64
	readable [][]byte
	writable [][]byte
	readLen  uint64
	writeLen uint64
}

// serve carries out a request. It is a virtio.Serve.
func (r *requests) serve(q *queue.Queue, c *queue.Chain) (written uint32, err error) {
	if c.WriteLen == 0 {
		return 0, q.Broken(c, "a block request without room for its status")
	}
	if wait := r.d.Limit.Wait(); wait > 0 {
		return 0, virtio.Later(wait)
	}
	answer := cutLast(c)
	req := request{readable: c.Readable, writable: c.Writable, readLen: c.ReadLen, writeLen: c.WriteLen - 1}
	s := statusIOErr
	if r.parse(&req) {
		r.account(&req)
		s = r.do(&req)
	}
	if s != statusOK {
		// The length that goes back with the chain ends with the status, and so
		// covers the data, which must not be what lay there before.
		for _, p := range c.Writable {
			clear(p)
		}
	}
	answer[0] = byte(s)
	return uint32(min(c.WriteLen, 0xffffffff)), nil
}

// account counts a request, and takes what it costs from the limit.
func (r *requests) account(req *request) {
	moved := uint64(0)
	switch req.kind {
	case typeIn:
		moved = req.writeLen
		r.d.stats.reads.Add(1)
		r.d.stats.readBytes.Add(moved)
	case typeOut:
		moved = req.readLen
		r.d.stats.writes.Add(1)
		r.d.stats.writtenBytes.Add(moved)
	case typeFlush:
		r.d.stats.flushes.Add(1)
	}
	r.d.Limit.Spend(moved)
}

// cutLast takes the last byte off the writable pieces.
func cutLast(c *queue.Chain) []byte {
	last := len(c.Writable) - 1
	p := c.Writable[last]
	n := len(p) - 1
	c.Writable[last] = p[:n]
	if n == 0 {
		c.Writable = c.Writable[:last]
	}
	return p[n:]
}

// parse takes the header off. It may be spread over several pieces.
func (r *requests) parse(req *request) bool {
	if req.readLen < headerSize {
		return false
	}
	req.readable = take(req.readable, r.header[:])
	req.readLen -= headerSize
	req.kind = binary.LittleEndian.Uint32(r.header[:])
	req.sector = binary.LittleEndian.Uint64(r.header[8:])
	return true
}

// take copies the first bytes of the pieces to p and drops them. The pieces have
// that many.
func take(pieces [][]byte, p []byte) [][]byte {
	for len(p) > 0 {
		n := copy(p, pieces[0])
		p = p[n:]
		pieces = advance(pieces, n)
	}
	return pieces
}

func (r *requests) do(req *request) status {
	switch req.kind {
	case typeIn:
		return r.read(req)
	case typeOut:
		return r.write(req)
	case typeFlush:
		return r.flush(req)
	case typeGetID:
		return r.getID(req)
	case typeDiscard:
		return r.onRanges(req, featureDiscard, r.discard)
	case typeWriteZeroes:
		return r.onRanges(req, featureWriteZeroes, r.writeZeroes)
	}
	return statusUnsupp
}

// result is the status for what came of an operation on the file.
func (r *requests) result(err error) status {
	if err != nil {
		r.d.report(err)
		return statusIOErr
	}
	return statusOK
}

// inside tells whether n bytes from a sector on are whole sectors of the disk.
func (r *requests) inside(sector, n uint64) bool {
	sectors := uint64(r.d.file.size) >> sectorShift
	return n%sectorSize == 0 && sector <= sectors && n>>sectorShift <= sectors-sector
}

func (r *requests) read(req *request) status {
	if req.readLen != 0 || !r.inside(req.sector, req.writeLen) {
		return statusIOErr
	}
	// The file's loop uses up its list: it gets the pieces, the chain keeps the
	// list's own storage.
	return r.result(r.d.file.read(&r.vector, req.writable, int64(req.sector<<sectorShift)))
}

func (r *requests) write(req *request) status {
	if r.d.spec.ReadOnly || req.writeLen != 0 || !r.inside(req.sector, req.readLen) {
		return statusIOErr
	}
	durable := !r.d.cached.Load()
	return r.result(r.d.file.write(&r.vector, req.readable, int64(req.sector<<sectorShift), durable))
}

func (r *requests) flush(req *request) status {
	if req.readLen != 0 || req.writeLen != 0 {
		return statusIOErr
	}
	return r.result(r.d.file.sync())
}

// getID answers with the serial number, padded with zeros. A driver that gave less
// room gets as much as fits.
func (r *requests) getID(req *request) status {
	if req.readLen != 0 || req.writeLen == 0 {
		return statusIOErr
	}
	serial := r.d.serial
	for _, p := range req.writable {
		clear(p)
		serial = serial[copy(p, serial):]
	}
	return statusOK
}
