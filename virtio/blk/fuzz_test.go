package blk

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/virtio/queue"
)

// model is a disk in memory: what a request has to do, said once more in the
// simplest way.
type model struct {
	disk     []byte
	readOnly bool
	// any marks sectors that were discarded: they may hold anything.
	any map[uint64]bool
}

func (m *model) do(req []byte, room int) (status, []byte) {
	answer := make([]byte, room)
	if len(req) < headerSize {
		return statusIOErr, answer
	}
	kind, sector := binary.LittleEndian.Uint32(req), binary.LittleEndian.Uint64(req[8:])
	data, sectors := req[headerSize:], uint64(len(m.disk)/sectorSize)
	fits := func(sector, n uint64) bool { return sector <= sectors && n <= sectors-sector }
	switch kind {
	case typeIn:
		if len(data) > 0 || room%sectorSize != 0 || !fits(sector, uint64(room/sectorSize)) {
			return statusIOErr, answer
		}
		copy(answer, m.disk[sector*sectorSize:])
	case typeOut:
		if m.readOnly || room > 0 || len(data)%sectorSize != 0 || !fits(sector, uint64(len(data)/sectorSize)) {
			return statusIOErr, answer
		}
		copy(m.disk[sector*sectorSize:], data)
		for s := range uint64(len(data) / sectorSize) {
			delete(m.any, sector+s)
		}
	case typeFlush:
		if len(data) > 0 || room > 0 {
			return statusIOErr, answer
		}
	case typeGetID:
		if len(data) > 0 || room == 0 {
			return statusIOErr, answer
		}
		copy(answer, "fuzz")
	case typeDiscard, typeWriteZeroes:
		return m.ranges(kind, data, room, fits), answer
	default:
		return statusUnsupp, answer
	}
	return statusOK, answer
}

func (m *model) ranges(kind uint32, data []byte, room int, fits func(sector, n uint64) bool) status {
	n := len(data) / rangeSize
	switch {
	case m.readOnly:
		return statusUnsupp
	case room > 0 || len(data)%rangeSize != 0 || n == 0 || n > maxRanges:
		return statusIOErr
	}
	type run struct{ sector, n uint64 }
	var runs []run
	for ; len(data) > 0; data = data[rangeSize:] {
		sector, n, flags := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint32(data[8:]), binary.LittleEndian.Uint32(data[12:])
		limit := uint32(maxZeroes)
		if kind == typeDiscard {
			limit = maxDiscard
		}
		if flags > 1 || kind == typeDiscard && flags != 0 {
			return statusUnsupp
		}
		if n > limit || !fits(sector, uint64(n)) {
			return statusIOErr
		}
		runs = append(runs, run{sector, uint64(n)})
	}
	for _, r := range runs {
		for s := r.sector; s < r.sector+r.n; s++ {
			if kind == typeDiscard {
				m.any[s] = true
			} else {
				delete(m.any, s)
				clear(m.disk[s*sectorSize:][:sectorSize])
			}
		}
	}
	return statusOK
}

// FuzzRequests makes requests of any bytes in any pieces, and holds the disk
// against a model. The input is a byte of options and then requests: the length of
// the readable part and of the writable part before the status (16 bits each), a
// byte that says how to cut both into pieces, and the readable part.
func FuzzRequests(f *testing.F) {
	add := func(options byte, reqs ...[]byte) { f.Add(append([]byte{options}, bytes.Join(reqs, nil)...)) }
	req := func(kind uint32, sector uint64, data []byte, room uint16, cut byte) []byte {
		h := append(header(kind, sector), data...)
		b := binary.LittleEndian.AppendUint16(nil, uint16(len(h)))
		b = binary.LittleEndian.AppendUint16(b, room)
		return append(append(b, cut), h...)
	}
	data := bytes.Repeat([]byte("data"), 256)
	add(0,
		req(typeOut, 3, data, 0, 0),
		req(typeIn, 2, nil, 2048, 0),
		req(typeFlush, 0, nil, 0, 0),
		req(typeGetID, 0, nil, 20, 0))
	add(1, req(typeOut, 3, data, 0, 0), req(typeIn, 127, nil, 512, 3))
	add(0,
		req(typeOut, 127, data[:512], 0, 7),
		req(typeWriteZeroes, 0, ranges(blockRange{126, 2, 1}, blockRange{1, 1, 0}), 0, 5),
		req(typeDiscard, 0, ranges(blockRange{8, 8, 0}), 0, 0),
		req(typeIn, 0, nil, 0x8000, 200))
	add(0, req(typeIn, ^uint64(0), nil, 512, 0), req(typeIn, 128, nil, 512, 0), req(12345, 0, nil, 1, 0))

	const size = 1 << 16
	path := filepath.Join(f.TempDir(), "disk")
	fresh := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(path, fresh, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		if err := os.WriteFile(path, fresh, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(Spec{Path: path, ReadOnly: in[0]&1 != 0, Serial: "fuzz"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		d.agreed.Store(d.Features())
		m := &model{disk: bytes.Clone(fresh), readOnly: in[0]&1 != 0, any: make(map[uint64]bool)}
		r := newRequests(d)
		for in = in[1:]; len(in) >= 5; {
			n, room, cut := int(binary.LittleEndian.Uint16(in)), int(binary.LittleEndian.Uint16(in[2:])), int(in[4])
			in = in[5:]
			req := in[:min(n, len(in))]
			in = in[len(req):]
			answer := bytes.Repeat([]byte{0xee}, room+1)
			c := &queue.Chain{
				Readable: split(req, cut), ReadLen: uint64(len(req)),
				Writable: split(answer, cut), WriteLen: uint64(len(answer)),
			}
			written, err := r.serve(nil, c)
			if err != nil || int(written) != len(answer) {
				t.Fatalf("serve = %d, %v, want %d", written, err, len(answer))
			}
			want, wantAnswer := m.do(req, room)
			if got := status(answer[room]); got != want {
				t.Fatalf("request %x with room for %d: status %d, want %d", req, room, got, want)
			}
			m.forgive(req, answer[:room], wantAnswer)
			if !bytes.Equal(answer[:room], wantAnswer) {
				t.Fatalf("request %x: answer %x, want %x", req, answer[:room], wantAnswer)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != size {
			t.Fatalf("the disk has %d bytes", len(got))
		}
		for s := range uint64(size / sectorSize) {
			if !m.any[s] && !bytes.Equal(got[s*sectorSize:][:sectorSize], m.disk[s*sectorSize:][:sectorSize]) {
				t.Fatalf("sector %d is wrong", s)
			}
		}
	})
}

// forgive makes what was read of discarded sectors right.
func (m *model) forgive(req, got, want []byte) {
	if len(req) < headerSize || binary.LittleEndian.Uint32(req) != typeIn {
		return
	}
	sector := binary.LittleEndian.Uint64(req[8:])
	for s := 0; s+sectorSize <= len(want); s += sectorSize {
		if m.any[sector+uint64(s/sectorSize)] {
			copy(want[s:s+sectorSize], got[s:])
		}
	}
}

// split cuts b into pieces.
func split(b []byte, cut int) (pieces [][]byte) {
	if cut == 0 && len(b) > 0 {
		return [][]byte{b}
	}
	for i := 1; len(b) > 0; i++ {
		n := min(len(b), 1+cut*i%600)
		pieces = append(pieces, b[:n:n])
		b = b[n:]
	}
	return pieces
}

// BenchmarkRequest is a request without the ring: the device alone, on a file in
// memory.
func BenchmarkRequest(b *testing.B) {
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "disk")
	b.Cleanup(func() { file.Close() })
	const size = 16 << 20
	if _, err := file.Write(make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	d := &Disk{file: &backing{file: file, path: "disk", size: size}}
	d.cached.Store(true)
	r := newRequests(d)
	for _, c := range []struct {
		name string
		kind uint32
		n    int
	}{
		{"read 4K", typeIn, 4 << 10},
		{"write 4K", typeOut, 4 << 10},
		{"read 128K", typeIn, 128 << 10},
		{"write 128K", typeOut, 128 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			var chain queue.Chain
			h, st, data := header(c.kind, 0), make([]byte, 1), make([]byte, c.n)
			readable, writable := make([][]byte, 2), make([][]byte, 2)
			b.SetBytes(int64(c.n))
			b.ReportAllocs()
			sector := uint64(0)
			for b.Loop() {
				binary.LittleEndian.PutUint64(h[8:], sector)
				sector = (sector + uint64(c.n/sectorSize)) % (size / sectorSize)
				readable[0], writable[0], writable[1] = h, data, st
				chain.Readable, chain.Writable = readable[:1], writable
				chain.ReadLen, chain.WriteLen = headerSize, uint64(c.n+1)
				if c.kind == typeOut {
					readable[1], writable[0] = data, st
					chain.Readable, chain.Writable = readable, writable[:1]
					chain.ReadLen, chain.WriteLen = uint64(headerSize+c.n), 1
				}
				if _, err := r.serve(nil, &chain); err != nil || st[0] != 0 {
					b.Fatal(err, st)
				}
			}
		})
	}
}
