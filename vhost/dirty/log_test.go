package dirty

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"tandem/internal/testenv"
	"tandem/virtio/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func space(t *testing.T, regions ...[2]uint64) *memory.Space {
	t.Helper()
	var list []memory.Region
	for _, r := range regions {
		m, err := memory.Map(r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Unmap() })
		list = append(list, m)
	}
	s, err := memory.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newLog(t *testing.T, mem *memory.Space) *Log {
	t.Helper()
	l, err := New(mem)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		end, want uint64
	}{{0x1000, 8}, {64 * PageSize, 8}, {65 * PageSize, 16}, {1 << 20, 32}} {
		if got := Size(space(t, [2]uint64{0, test.end})); got != test.want {
			t.Errorf("Size up to %#x = %d, want %d", test.end, got, test.want)
		}
	}
	// A hole has bits too.
	if got := Size(space(t, [2]uint64{0, 0x1000}, [2]uint64{4 << 30, 0x1000})); got != (4<<30)/PageSize/8+8 {
		t.Errorf("Size with a hole = %d", got)
	}
}

func TestMark(t *testing.T) {
	l := newLog(t, space(t, [2]uint64{0, 1 << 20}))
	l.Mark(0x1fff, 2)
	l.Mark(0x8000, 1)
	l.Mark(0x8000, 0)
	l.Mark(0x41000, 0x1000)
	l.Mark(1<<20, 4096)    // no such page
	l.Mark(1<<64-10, 4096) // nor this
	if l.bytes[0] != 1<<1|1<<2 || l.bytes[1] != 1<<0 || l.bytes[8] != 1<<1 {
		t.Errorf("bitmap = %x", l.bytes)
	}
	// Another mapping of the file, as another process has it.
	other, err := Open(l.File(), l.Size(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Mark(0x42000, 1)
	if got, want := slices.Collect(l.Take()), []uint64{0x1000, 0x2000, 0x8000, 0x41000, 0x42000}; !slices.Equal(got, want) {
		t.Errorf("Take = %#x, want %#x", got, want)
	}
	if got := slices.Collect(l.Take()); got != nil {
		t.Errorf("Take again = %#x", got)
	}
}

// TestTogether marks and takes at the same time: no mark is lost.
func TestTogether(t *testing.T) {
	const pages, rounds = 256, 2000
	l := newLog(t, space(t, [2]uint64{0, pages * PageSize}))
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range rounds {
				l.Mark(uint64((i*7+w*64)%pages)*PageSize, 1)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	seen := make(map[uint64]bool)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for page := range l.Take() {
			seen[page] = true
		}
	}
	if len(seen) != pages {
		t.Errorf("%d pages were seen of %d", len(seen), pages)
	}
}

func TestCovers(t *testing.T) {
	l := newLog(t, space(t, [2]uint64{0, 1 << 20}))
	if err := l.Covers(space(t, [2]uint64{0x1000, 0x1000})); err != nil {
		t.Error(err)
	}
	err := l.Covers(space(t, [2]uint64{0, 1<<20 + 0x1000}))
	if !errors.Is(err, ErrTooSmall) || err.Error() != "dirty: the log is too small for the memory: 0x20 bytes, want 0x28" {
		t.Errorf("Covers = %v", err)
	}
	for _, test := range []struct {
		gpa, n uint64
		want   bool
	}{{0, 1 << 20, true}, {1, 1 << 20, false}, {1 << 20, 0, true}, {1<<64 - 1, 2, false}, {0, 1<<64 - 1, false}} {
		if got := l.Holds(test.gpa, test.n); got != test.want {
			t.Errorf("Holds(%#x, %#x) = %v", test.gpa, test.n, got)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(0x3000); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		file         *os.File
		size, offset uint64
	}{
		{file, 0, 0},
		{file, 7, 0},
		{file, 1 << 63, 0},
		{file, 1<<64 - 1, 1},
		{file, 8, 1 << 63},
		{file, 8, 4},
		{file, 0x1000, 0x2008},
		{null, 8, 0},
	} {
		if l, err := Open(test.file, test.size, test.offset); !errors.Is(err, ErrLayout) {
			t.Errorf("Open(%s, %#x, %#x) = %v, %v", test.file.Name(), test.size, test.offset, l, err)
		}
	}
	l, err := Open(file, 0x1ff8, 0x1008)
	if err != nil {
		t.Fatal(err)
	}
	l.Mark(0, 1)
	l.Close()
	var b [1]byte
	if file.ReadAt(b[:], 0x1008); b[0] != 1 {
		t.Errorf("the log is not at its offset")
	}
}
