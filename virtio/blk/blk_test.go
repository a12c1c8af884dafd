package blk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/limit"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// image makes a disk image of n bytes; sector s begins with s and goes on with a
// pattern.
func image(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.img")
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/sectorSize)
	}
	for s := 0; s+sectorSize <= n; s += sectorSize {
		binary.LittleEndian.PutUint64(b[s:], uint64(s/sectorSize))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, spec Spec) *Disk {
	t.Helper()
	d, err := Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// header is struct virtio_blk_req up to the data.
func header(kind uint32, sector uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(b, sector)
}

// do makes a request of a header and data, as Linux does, and gives its status, and
// what the device wrote.
func do(g *virtiotest.Guest, q int, kind uint32, sector uint64, data []byte, room int) (status, []byte) {
	g.Helper()
	pieces := []virtiotest.Piece{g.In(header(kind, sector))}
	if len(data) > 0 {
		pieces = append(pieces, g.In(data))
	}
	var out virtiotest.Piece
	if room > 0 {
		out = g.Out(uint32(room))
		pieces = append(pieces, out)
	}
	last := g.Put([]byte{0xff})
	pieces = append(pieces, virtiotest.Piece{GPA: last, Len: 1, Write: true})
	u := g.Do(q, pieces...)
	g.ReuseFrom(pieces[0].GPA)
	if want := uint32(room) + 1; u.Len != want {
		g.Errorf("request %d: %d bytes were written, want %d", kind, u.Len, want)
	}
	return status(g.Bytes(last, 1)[0]), slices.Clone(g.Bytes(out.GPA, uint64(room)))
}

// probe writes a sector at random on each queue, and reads it back on another.
func probe(g *virtiotest.Guest) {
	g.Helper()
	for q := range g.Rings {
		sector, data := rand.Uint64N(100), make([]byte, 1024)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		if s, _ := do(g, q, typeOut, sector, data, 0); s != statusOK {
			g.Fatalf("write: status %d", s)
		}
		s, got := do(g, (q+1)%len(g.Rings), typeIn, sector, nil, len(data))
		if s != statusOK || !bytes.Equal(got, data) {
			g.Fatalf("read: status %d, the data written: %v", s, bytes.Equal(got, data))
		}
	}
}

// TestConformance is about rings and registers: its disk is in memory, where to make
// a write durable costs nothing.
func TestConformance(t *testing.T) {
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "disk")
	defer file.Close()
	if err := file.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			d, err := Open(Spec{Path: path, Queues: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		},
		Probe: probe,
	}.Run(t)
}

func start(t testing.TB, spec Spec, features uint64) (*virtiotest.Guest, *Disk) {
	t.Helper()
	d := open(t, spec)
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{})
	g.Start(features, queueSize)
	return g, d
}

func ranges(list ...blockRange) []byte {
	var b []byte
	for _, r := range list {
		b = binary.LittleEndian.AppendUint64(b, r.sector)
		b = binary.LittleEndian.AppendUint32(b, r.sectors)
		b = binary.LittleEndian.AppendUint32(b, r.flags)
	}
	return b
}

func TestConfig(t *testing.T) {
	g, _ := start(t, Spec{Path: image(t, 1<<20), Queues: 3}, ^uint64(0))
	for _, c := range []struct {
		name      string
		off       uint32
		n         int
		want, max uint64
	}{
		{"capacity", configCapacity, 8, 2048, 2048},
		{"size_max", configSizeMax, 4, sizeMax, sizeMax},
		{"seg_max", configSegMax, 4, queueSize - 2, queueSize - 2},
		{"blk_size", configBlkSize, 4, 512, 512},
		{"physical_block_exp", configPhysicalExp, 1, 0, 3},
		{"num_queues", configNumQueues, 2, 3, 3},
		{"writeback", configWriteback, 1, 1, 1},
		{"max_discard_seg", configMaxDiscardSeg, 4, maxRanges, maxRanges},
		{"write_zeroes_may_unmap", configMayUnmap, 1, 1, 1},
		{"past the end", configSize, 8, 0, 0},
	} {
		var b [8]byte
		g.ReadConfig(c.off, b[:c.n])
		if got := binary.LittleEndian.Uint64(b[:]); got < c.want || got > c.max {
			t.Errorf("%s = %d, want %d to %d", c.name, got, c.want, c.max)
		}
	}
	// All is read-only but the write cache.
	before := make([]byte, configSize)
	g.ReadConfig(0, before)
	for off := range uint32(configSize + 8) {
		if off != configWriteback {
			g.WriteConfig(off, []byte{0xa5})
		}
	}
	g.WriteConfig(configWriteback-1, []byte{0, 0})
	after := make([]byte, configSize)
	g.ReadConfig(0, after)
	if !bytes.Equal(before, after) {
		t.Errorf("configuration = %x, want %x", after, before)
	}
	for _, v := range []byte{0, 1, 7} {
		g.WriteConfig(configWriteback, []byte{v})
		var b [1]byte
		g.ReadConfig(configWriteback, b[:])
		if want := min(v, 1); b[0] != want {
			t.Errorf("writeback after writing %d = %d, want %d", v, b[0], want)
		}
	}
}

func TestRequests(t *testing.T) {
	const size = 1 << 20
	const sectors = size / sectorSize
	path := image(t, size)
	want := content(t, path)
	g, _ := start(t, Spec{Path: path, Serial: "T-1000"}, ^uint64(0))
	pattern := bytes.Repeat([]byte("tandem! "), 8192/8)

	for _, c := range []struct {
		name   string
		kind   uint32
		sector uint64
		data   []byte
		room   int
		want   status
		answer []byte
	}{
		{"read the first sector", typeIn, 0, nil, 512, statusOK, want[:512]},
		{"read the last sector", typeIn, sectors - 1, nil, 512, statusOK, want[size-512:]},
		{"read all", typeIn, 0, nil, size, statusOK, want},
		{"read nothing", typeIn, sectors, nil, 0, statusOK, nil},
		{"read past the end", typeIn, sectors, nil, 512, statusIOErr, make([]byte, 512)},
		{"read across the end", typeIn, sectors - 1, nil, 1024, statusIOErr, make([]byte, 1024)},
		{"read where the offset wraps", typeIn, 1 << 55, nil, 512, statusIOErr, make([]byte, 512)},
		{"read from the last sector there is", typeIn, ^uint64(0), nil, 512, statusIOErr, make([]byte, 512)},
		{"read part of a sector", typeIn, 0, nil, 100, statusIOErr, make([]byte, 100)},
		{"read with data", typeIn, 0, pattern[:512], 512, statusIOErr, make([]byte, 512)},
		{"write", typeOut, 8, pattern[:512], 0, statusOK, nil},
		{"write several", typeOut, 16, pattern, 0, statusOK, nil},
		{"write the last sector", typeOut, sectors - 1, pattern[:512], 0, statusOK, nil},
		{"write across the end", typeOut, sectors - 1, pattern[:1024], 0, statusIOErr, nil},
		{"write part of a sector", typeOut, 0, pattern[:511], 0, statusIOErr, nil},
		{"write with room for an answer", typeOut, 0, pattern[:512], 512, statusIOErr, make([]byte, 512)},
		{"flush", typeFlush, 0, nil, 0, statusOK, nil},
		{"flush a sector", typeFlush, 7, nil, 0, statusOK, nil},
		{"flush with data", typeFlush, 0, pattern[:512], 0, statusIOErr, nil},
		{"id", typeGetID, 0, nil, 20, statusOK, append([]byte("T-1000"), make([]byte, 14)...)},
		{"id in little room", typeGetID, 0, nil, 4, statusOK, []byte("T-10")},
		{"id in much room", typeGetID, 0, nil, 40, statusOK, append([]byte("T-1000"), make([]byte, 34)...)},
		{"id in no room", typeGetID, 0, nil, 0, statusIOErr, nil},
		{"zeroes", typeWriteZeroes, 0, ranges(blockRange{100, 9, 0}), 0, statusOK, nil},
		{"zeroes that unmap, in two ranges", typeWriteZeroes, 0, ranges(blockRange{200, 16, 1}, blockRange{300, 1, 0}), 0, statusOK, nil},
		{"zeroes of nothing", typeWriteZeroes, 0, ranges(blockRange{2048, 0, 0}), 0, statusOK, nil},
		{"zeroes past the end", typeWriteZeroes, 0, ranges(blockRange{0, 1, 0}, blockRange{sectors, 1, 0}), 0, statusIOErr, nil},
		{"zeroes of too much", typeWriteZeroes, 0, ranges(blockRange{0, maxZeroes + 1, 0}), 0, statusIOErr, nil},
		{"zeroes with an unknown flag", typeWriteZeroes, 0, ranges(blockRange{0, 1, 2}), 0, statusUnsupp, nil},
		{"zeroes of no range", typeWriteZeroes, 0, nil, 0, statusIOErr, nil},
		{"zeroes of a range and a half", typeWriteZeroes, 0, ranges(blockRange{0, 1, 0}, blockRange{0, 1, 0})[:24], 0, statusIOErr, nil},
		{"zeroes of too many ranges", typeWriteZeroes, 0, ranges(make([]blockRange, maxRanges+1)...), 0, statusIOErr, nil},
		{"zeroes with room for an answer", typeWriteZeroes, 0, ranges(blockRange{0, 1, 0}), 8, statusIOErr, make([]byte, 8)},
		{"discard", typeDiscard, 0, ranges(blockRange{400, 8, 0}), 0, statusOK, nil},
		{"discard that unmaps", typeDiscard, 0, ranges(blockRange{0, 8, 1}), 0, statusUnsupp, nil},
		{"discard past the end", typeDiscard, 0, ranges(blockRange{sectors - 1, 2, 0}), 0, statusIOErr, nil},
		{"discard whose length wraps", typeDiscard, 0, ranges(blockRange{^uint64(0), 2, 0}), 0, statusIOErr, nil},
		{"secure erase, which was not offered", 14, 0, ranges(blockRange{0, 1, 0}), 0, statusUnsupp, nil},
		{"lifetime, which was not offered", 10, 0, nil, 12, statusUnsupp, make([]byte, 12)},
		{"an unknown request", 99, 0, nil, 512, statusUnsupp, make([]byte, 512)},
		{"a legacy barrier", 1 << 31, 0, nil, 0, statusUnsupp, nil},
	} {
		s, answer := do(g, 0, c.kind, c.sector, c.data, c.room)
		if s != c.want {
			t.Errorf("%s: status %d, want %d", c.name, s, c.want)
		}
		if !bytes.Equal(answer, c.answer) {
			t.Errorf("%s: answer of %d bytes is wrong", c.name, len(answer))
		}
	}

	copy(want[8*512:], pattern[:512])
	copy(want[16*512:], pattern)
	copy(want[size-512:], pattern[:512])
	clear(want[100*512 : 109*512])
	clear(want[200*512 : 216*512])
	clear(want[300*512 : 301*512])
	got := content(t, path)
	clear(want[400*512 : 408*512]) // discarded: may be anything
	clear(got[400*512 : 408*512])
	for s := range sectors {
		if !bytes.Equal(got[s*512:][:512], want[s*512:][:512]) {
			t.Errorf("sector %d of the file is wrong", s)
		}
	}
}

// TestFraming cuts requests in pieces in all ways: they have no meaning.
func TestFraming(t *testing.T) {
	path := image(t, 1<<16)
	g, _ := start(t, Spec{Path: path}, 0)
	want := content(t, path)[512*3:][:1024]
	h := header(typeIn, 3)
	for _, cuts := range [][]int{{16}, {1, 15}, {4, 4, 8}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}} {
		for _, room := range [][]uint32{{1025}, {1024, 1}, {1, 1024}, {512, 513}, {3, 700, 321, 1}} {
			var pieces []virtiotest.Piece
			at := 0
			for _, n := range cuts {
				pieces = append(pieces, g.In(h[at:at+n]))
				at += n
			}
			var outs []virtiotest.Piece
			for _, n := range room {
				outs = append(outs, g.Out(n))
			}
			u := g.Do(0, append(pieces, outs...)...)
			var got []byte
			for _, o := range outs {
				got = append(got, g.Bytes(o.GPA, uint64(o.Len))...)
			}
			if u.Len != 1025 || got[1024] != 0 || !bytes.Equal(got[:1024], want) {
				t.Errorf("header in %v, answer in %v: %d bytes, status %d", cuts, room, u.Len, got[len(got)-1])
			}
			g.ReuseFrom(pieces[0].GPA)
		}
	}
	// The same for a write, with the header and the data in one piece.
	data := bytes.Repeat([]byte("x"), 512)
	st := g.Out(1)
	g.Do(0, g.In(append(header(typeOut, 5), data...)), st)
	if got := content(t, path)[512*5:][:512]; !bytes.Equal(got, data) || g.Bytes(st.GPA, 1)[0] != 0 {
		t.Errorf("write in one piece: status %d", g.Bytes(st.GPA, 1)[0])
	}
	// A short header can still be answered.
	for n := range headerSize {
		st := g.Put([]byte{0xff})
		pieces := []virtiotest.Piece{{GPA: st, Len: 1, Write: true}}
		if n > 0 {
			pieces = append([]virtiotest.Piece{g.In(h[:n])}, pieces...)
		}
		g.Do(0, pieces...)
		if got := status(g.Bytes(st, 1)[0]); got != statusIOErr {
			t.Errorf("header of %d bytes: status %d, want IOERR", n, got)
		}
	}
}

// TestManyPieces has more pieces than a system call takes, across the hole in guest
// memory's middle.
func TestManyPieces(t *testing.T) {
	path := image(t, 1<<20)
	g, _ := start(t, Spec{Path: path}, ^uint64(0))
	const n = 1022 // and the header and the status
	in, out := []virtiotest.Piece{g.In(header(typeIn, 0))}, []virtiotest.Piece{}
	for i := range uint64(n) {
		gpa := 0x100000 + i*1024
		if i%2 == 1 {
			gpa = virtiotest.HighBase + i*512
		}
		out = append(out, virtiotest.Piece{GPA: gpa, Len: 512, Write: true})
	}
	st := g.Out(1)
	table := g.Alloc(16*(n+2), 16)
	g.Rings[0].OfferIndirect(table, append(append(in, out...), st)...)
	g.Kick(0)
	if u := g.WaitUsed(0); u.Len != n*512+1 || g.Bytes(st.GPA, 1)[0] != 0 {
		t.Fatalf("%d bytes, status %d", u.Len, g.Bytes(st.GPA, 1)[0])
	}
	want := content(t, path)
	for i, o := range out {
		if !bytes.Equal(g.Bytes(o.GPA, 512), want[i*512:][:512]) {
			t.Fatalf("sector %d is wrong", i)
		}
	}
}

func TestNoRoomForStatus(t *testing.T) {
	g, _ := start(t, Spec{Path: image(t, 4096)}, 0)
	g.Rings[0].Offer(g.In(header(typeFlush, 0)))
	g.Kick(0)
	g.WaitNeedsReset()
	var qe *queue.Error
	if r := g.Reports(); len(r) != 1 || !errors.As(r[0], &qe) || !strings.Contains(qe.Reason, "without room for its status") {
		t.Errorf("reports = %v", r)
	}
	g.Start(0, 16)
	probe1 := func() {
		if s, _ := do(g, 0, typeIn, 0, nil, 512); s != statusOK {
			t.Errorf("read after the reset: status %d", s)
		}
	}
	probe1()
}

func TestReadOnly(t *testing.T) {
	path := image(t, 1<<16)
	before := content(t, path)
	g, d := start(t, Spec{Path: path, ReadOnly: true}, ^uint64(0))
	if d.Features()&(1<<featureRO) == 0 || d.Features()&(1<<featureDiscard|1<<featureWriteZeroes|1<<featureConfigWCE) != 0 {
		t.Errorf("features = %#x", d.Features())
	}
	for _, c := range []struct {
		kind uint32
		data []byte
		want status
	}{
		{typeOut, make([]byte, 512), statusIOErr},
		{typeDiscard, ranges(blockRange{0, 8, 0}), statusUnsupp},
		{typeWriteZeroes, ranges(blockRange{0, 8, 0}), statusUnsupp},
		{typeFlush, nil, statusOK},
	} {
		if s, _ := do(g, 0, c.kind, 0, c.data, 0); s != c.want {
			t.Errorf("request %d: status %d, want %d", c.kind, s, c.want)
		}
	}
	if !bytes.Equal(content(t, path), before) {
		t.Error("a read-only disk has changed")
	}
}

// TestNotAgreed makes requests that the driver did not agree on.
func TestNotAgreed(t *testing.T) {
	g, _ := start(t, Spec{Path: image(t, 1<<16)}, 0)
	for _, kind := range []uint32{typeDiscard, typeWriteZeroes} {
		if s, _ := do(g, 0, kind, 0, ranges(blockRange{0, 8, 0}), 0); s != statusUnsupp {
			t.Errorf("request %d: status %d, want UNSUPP", kind, s)
		}
	}
	g.WriteConfig(configWriteback, []byte{1})
	var b [1]byte
	g.ReadConfig(configWriteback, b[:])
	if b[0] != 0 {
		t.Error("the write cache was turned on without the feature, and nobody will flush it")
	}
}

// TestFileShrinks takes the file away under the disk.
func TestFileShrinks(t *testing.T) {
	path := image(t, 1<<16)
	var reports virtiotest.Reports
	g, _ := start(t, Spec{Path: path, Report: reports.Add}, 0)
	if err := os.Truncate(path, 1024); err != nil {
		t.Fatal(err)
	}
	s, got := do(g, 0, typeIn, 1, nil, 1024)
	if r := reports.All(); s != statusIOErr || len(r) != 1 || !strings.HasPrefix(r[0].Error(), "blk: read disk "+path+" at 1024: ") {
		t.Errorf("status %d, reports %v", s, r)
	}
	if !bytes.Equal(got[512:], make([]byte, 512)) {
		t.Error("what could not be read is not zero")
	}
	if s, _ := do(g, 0, typeIn, 0, nil, 1024); s != statusOK {
		t.Errorf("read of what is left: status %d", s)
	}
}

func TestWriteFails(t *testing.T) {
	// The limit on file sizes is the process's: only what this file may become is
	// affected, as all others are smaller.
	path := image(t, 1<<20)
	var reports virtiotest.Reports
	g, _ := start(t, Spec{Path: path, Report: reports.Add}, 0)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 1<<20 - 512, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	s, _ := do(g, 0, typeOut, 1<<20/512-2, make([]byte, 1024), 0)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if r := reports.All(); s != statusIOErr || len(r) != 1 || !errors.Is(r[0], unix.EFBIG) {
		t.Errorf("status %d, reports %v, want IOERR and EFBIG", s, r)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, n int64, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	good := file("good", 4096, 0o600)
	for _, c := range []struct {
		spec Spec
		want string
		is   error
	}{
		{Spec{Path: filepath.Join(dir, "no")}, "blk: open disk DIR/no: no such file or directory", fs.ErrNotExist},
		{Spec{Path: filepath.Join(good, "below")}, "blk: open disk DIR/good/below: not a directory", unix.ENOTDIR},
		{Spec{Path: dir}, "blk: open disk DIR: is a directory", unix.EISDIR},
		{Spec{Path: fifo}, "blk: open disk DIR/fifo: neither a regular file nor a block device (p---------)", nil},
		{Spec{Path: "/dev/null"}, "blk: open disk /dev/null: neither a regular file nor a block device (Dc---------)", nil},
		{Spec{Path: file("empty", 0, 0o600)}, "blk: open disk DIR/empty: empty: a disk has at least one sector of 512 bytes", nil},
		{Spec{Path: file("odd", 1000, 0o600)}, "blk: open disk DIR/odd: size 1000 is not a multiple of 512 bytes", nil},
		{Spec{Path: good, Serial: strings.Repeat("x", 21)}, `blk: open disk DIR/good: serial "xxxxxxxxxxxxxxxxxxxxx": longer than 20 bytes`, nil},
		{Spec{Path: good, Queues: 257}, "blk: open disk DIR/good: 257 queues: not from 1 to 256", nil},
		{Spec{Path: good, Queues: -1}, "blk: open disk DIR/good: -1 queues: not from 1 to 256", nil},
	} {
		d, err := Open(c.spec)
		if err == nil {
			d.Close()
			t.Errorf("Open(%+v) succeeded", c.spec)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
			t.Errorf("error = %q, want %q", got, c.want)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("error %q is not %v", err, c.is)
		}
	}
}

func TestLock(t *testing.T) {
	path := image(t, 4096)
	link := path + ".link"
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		first, second bool // read-only
		ok            bool
	}{
		{false, false, false},
		{false, true, false},
		{true, false, false},
		{true, true, true},
	} {
		a := open(t, Spec{Path: path, ReadOnly: c.first})
		b, err := Open(Spec{Path: link, ReadOnly: c.second})
		if (err == nil) != c.ok {
			t.Errorf("first read-only %v, second %v: error = %v", c.first, c.second, err)
		}
		if err == nil {
			b.Close()
		} else if !errors.Is(err, ErrInUse) || err.Error() != "blk: open disk "+link+": in use" {
			t.Errorf("error = %q", err)
		}
		// A descriptor that is closed elsewhere in the process takes no lock with
		// it.
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if b, err := Open(Spec{Path: path}); err == nil {
			b.Close()
			t.Error("the lock was lost when somebody closed the file")
		}
		a.Close()
	}
	open(t, Spec{Path: path}) // unlocked again
}

func TestSerial(t *testing.T) {
	g, _ := start(t, Spec{Path: image(t, 4096)}, 0)
	s, got := do(g, 0, typeGetID, 0, nil, maxSerial)
	if want := "a.img"; s != statusOK || string(bytes.TrimRight(got, "\x00")) != want {
		t.Errorf("id = %q, status %d, want %q", got, s, want)
	}
}

// TestLimit holds a request up until the limit is lifted.
func TestLimit(t *testing.T) {
	d := open(t, Spec{Path: image(t, 64<<10)})
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{})
	g.Start(^uint64(0), 16)
	if err := d.Limit.Set(limit.Limits{Ops: limit.Rate{PerSecond: 50, Burst: 1}}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 6 {
		if s, _ := do(g, 0, typeIn, 1, nil, sectorSize); s != statusOK {
			t.Fatalf("status %d", s)
		}
	}
	// The first goes at once and the second on credit; the others each wait for the one before to be paid.
	if took := time.Since(start); took < 4*time.Second/50 {
		t.Errorf("6 requests took %v at 50 a second", took)
	}
	// A request that would wait for days goes on when the limit is lifted.
	if err := d.Limit.Set(limit.Limits{Bytes: limit.Rate{PerSecond: 1, Burst: 1}}); err != nil {
		t.Fatal(err)
	}
	d.Limit.Spend(1 << 20)
	lifted := make(chan error, 1)
	time.AfterFunc(10*time.Millisecond, func() { lifted <- d.Limit.Set(limit.Limits{}) })
	if s, _ := do(g, 0, typeIn, 1, nil, sectorSize); s != statusOK {
		t.Errorf("after the limit was lifted: status %d", s)
	}
	if err := <-lifted; err != nil {
		t.Error(err)
	}
	if s := d.Stats(); s.Reads != 7 || s.ReadBytes != 7*sectorSize || s.Writes != 0 {
		t.Errorf("stats %+v", s)
	}
}
