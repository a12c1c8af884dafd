package memory

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// testSpace has three regions: two that touch, and one at the very end of the
// address space.
func testSpace(t testing.TB) *Space {
	t.Helper()
	fill := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	s, err := New(
		Region{GPA: 0x3000, Bytes: fill(0x1000, 'c')},
		Region{GPA: 0x1000, Bytes: fill(0x1000, 'a')},
		Region{GPA: 0x2000, Bytes: fill(0x1000, 'b')},
		Region{GPA: 1 << 40, Bytes: fill(0x1000, 'z')},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSlice(t *testing.T) {
	s := testSpace(t)
	for _, c := range []struct {
		gpa, n uint64
		ok     bool
	}{
		{0x1000, 0, true},
		{0x1000, 0x1000, true},
		{0x1fff, 1, true},
		{0x3fff, 1, true},
		{1 << 40, 0x1000, true},

		{0, 0, false},
		{0, 1, false},
		{0xfff, 2, false},
		{0x1fff, 2, false}, // two regions
		{0x3fff, 2, false},
		{0x4000, 0, false},
		{0x1000, 0x1001, false},
		{0x1000, ^uint64(0), false},
		{0x1001, ^uint64(0), false}, // 0x1001 + n = 0x1000
		{^uint64(0), 1, false},
		{^uint64(0), ^uint64(0), false},
		{1<<40 + 0xfff, 2, false},
	} {
		b, err := s.Slice(c.gpa, c.n)
		if (err == nil) != c.ok {
			t.Errorf("Slice(%#x, %#x) error = %v, want success %v", c.gpa, c.n, err, c.ok)
			continue
		}
		if c.ok && (uint64(len(b)) != c.n || cap(b) != len(b)) {
			t.Errorf("Slice(%#x, %#x) has length %d and capacity %d", c.gpa, c.n, len(b), cap(b))
		}
		if !c.ok && !errors.Is(err, ErrOutside) {
			t.Errorf("Slice(%#x, %#x) error = %v, want ErrOutside", c.gpa, c.n, err)
		}
	}
}

func TestAppend(t *testing.T) {
	s := testSpace(t)
	for _, c := range []struct {
		gpa, n uint64
		want   []int // the lengths of the pieces, nil for an error
	}{
		{0x1000, 1, []int{1}},
		{0x1ffe, 4, []int{2, 2}},
		{0x1001, 0x2fff, []int{0xfff, 0x1000, 0x1000}},
		{0x1001, 0x3000, nil},
		{0x3fff, 2, nil},
		{0, 1, nil},
		{^uint64(0), 2, nil},
	} {
		first := []byte("first")
		iov, err := s.Append([][]byte{first}, c.gpa, c.n)
		if (err == nil) != (c.want != nil) {
			t.Errorf("Append(%#x, %#x) error = %v", c.gpa, c.n, err)
		}
		if len(iov) != 1+len(c.want) || &iov[0][0] != &first[0] {
			t.Errorf("Append(%#x, %#x) gives %d pieces, want %d", c.gpa, c.n, len(iov)-1, len(c.want))
			continue
		}
		for i, want := range c.want {
			if got := len(iov[1+i]); got != want || cap(iov[1+i]) != want {
				t.Errorf("Append(%#x, %#x) piece %d has %d bytes, want %d", c.gpa, c.n, i, got, want)
			}
		}
	}
}

// TestEndOfAddressSpace has a region that goes as far as one may: what begins there
// must not go on at 0, where there is memory too.
func TestEndOfAddressSpace(t *testing.T) {
	const page, last = 0x1000, ^uint64(0xfff)
	s, err := New(Region{GPA: 0, Bytes: make([]byte, page)}, Region{GPA: last, Bytes: make([]byte, page-1)})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Contains(last, page-1) {
		t.Error("the last region is not there")
	}
	for _, n := range []uint64{3, 4, page} {
		if _, err := s.Append(nil, ^uint64(0)-2, n); err == nil || s.Contains(^uint64(0)-2, n) {
			t.Errorf("a range of %d bytes went around the end of the address space", n)
		}
	}
	for _, n := range []int{page, page + 1} {
		if _, err := New(Region{GPA: last, Bytes: make([]byte, n)}); err == nil {
			t.Errorf("New took a region of %d bytes at %#x", n, uint64(last))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	page := make([]byte, 0x1000)
	for _, c := range []struct {
		want    string
		regions []Region
	}{
		{"memory: new space: region at 0x1000: empty", []Region{{GPA: 0x1000}}},
		{"memory: new space: region 0x1fff-0x2ffe: overlaps 0x1000-0x1fff", []Region{{GPA: 0x1fff, Bytes: page}, {GPA: 0x1000, Bytes: page}}},
		{"memory: new space: region 0x1000-0x1fff: overlaps 0x1000-0x1fff", []Region{{GPA: 0x1000, Bytes: page}, {GPA: 0x1000, Bytes: page}}},
	} {
		if _, err := New(c.regions...); err == nil || err.Error() != c.want {
			t.Errorf("New error = %q, want %q", err, c.want)
		}
	}
}

func TestReadWriteAt(t *testing.T) {
	s := testSpace(t)
	p := make([]byte, 0x1002)
	if n, err := s.ReadAt(p, 0x1fff); n != len(p) || err != nil {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if want := append(append([]byte{'a'}, bytes.Repeat([]byte{'b'}, 0x1000)...), 'c'); !bytes.Equal(p, want) {
		t.Error("ReadAt did not go across the regions")
	}
	if n, err := s.WriteAt([]byte("hello"), 0x1ffe); n != 5 || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	if n, err := s.ReadAt(p[:5], 0x1ffe); n != 5 || err != nil || string(p[:5]) != "hello" {
		t.Errorf("ReadAt = %d, %v, %q", n, err, p[:5])
	}
	for _, off := range []int64{0, 0x4000, -1, 1<<40 - 1} {
		if n, err := s.ReadAt(p[:1], off); n != 0 || !errors.Is(err, ErrOutside) {
			t.Errorf("ReadAt(%#x) = %d, %v, want ErrOutside", off, n, err)
		}
	}
	if n, err := s.WriteAt(p[:8], 0x3ffc); n != 4 || !errors.Is(err, ErrOutside) {
		t.Errorf("WriteAt at the end = %d, %v, want 4 bytes and ErrOutside", n, err)
	}
	if n, err := io.ReadFull(io.NewSectionReader(s, 0x1000, 0x3000), make([]byte, 0x3000)); n != 0x3000 || err != nil {
		t.Errorf("reading all = %d, %v", n, err)
	}
}

func TestMap(t *testing.T) {
	for _, make := range []func(gpa, size uint64) (Region, error){Map, MapShared} {
		r, err := make(0x1000, 0x3000)
		if err != nil {
			t.Fatal(err)
		}
		r.Bytes[0x2fff] = 1
		if r.End() != 0x4000 {
			t.Errorf("End = %#x", r.End())
		}
		if r.File != nil {
			var b [1]byte
			if _, err := r.File.ReadAt(b[:], 0x2fff); err != nil || b[0] != 1 {
				t.Errorf("the file has %v, %v, want what was written to the mapping", b, err)
			}
		}
		if err := r.Unmap(); err != nil {
			t.Error(err)
		}
	}
	for _, size := range []uint64{0, 1 << 60, ^uint64(0)} {
		if _, err := Map(0, size); err == nil {
			t.Errorf("Map of %#x bytes succeeded", size)
		}
		if _, err := MapShared(0, size); err == nil {
			t.Errorf("MapShared of %#x bytes succeeded", size)
		}
	}
}

// FuzzSlice holds Slice, Append and Contains against each other.
func FuzzSlice(f *testing.F) {
	f.Add(uint64(0x1000), uint64(0x3000))
	f.Add(uint64(0x1fff), uint64(2))
	f.Add(^uint64(0), ^uint64(0))
	f.Add(uint64(1<<40), uint64(0x1000))
	s := testSpace(f)
	f.Fuzz(func(t *testing.T, gpa, n uint64) {
		b, sliceErr := s.Slice(gpa, n)
		iov, appendErr := s.Append(nil, gpa, n)
		if sliceErr == nil && appendErr != nil {
			t.Fatalf("Slice(%#x, %#x) is memory, Append: %v", gpa, n, appendErr)
		}
		if got := s.Contains(gpa, n); got != (appendErr == nil) {
			t.Fatalf("Contains(%#x, %#x) = %v, Append: %v", gpa, n, got, appendErr)
		}
		var total uint64
		for _, p := range iov {
			total += uint64(len(p))
		}
		if appendErr == nil && total != n || sliceErr == nil && uint64(len(b)) != n {
			t.Fatalf("range %#x+%#x: Slice has %d bytes, Append %d", gpa, n, len(b), total)
		}
	})
}
