package boot

import (
	"bytes"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// memoryFile is on tmpfs, which knows holes.
func memoryFile(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd:test")
	t.Cleanup(func() { f.Close() })
	return f
}

// sparseContents has data at its start, zeros too short for a hole, a hole, data of a page, a hole, and a last byte.
func sparseContents() []byte {
	b := make([]byte, 12*holeSize+1)
	copy(b, pattern(holeSize/2))
	copy(b[holeSize:], pattern(10))
	copy(b[6*holeSize+2*pageSize:], pattern(pageSize))
	b[len(b)-1] = 1
	return b
}

func TestSparse(t *testing.T) {
	want := sparseContents()
	for _, chunk := range []int{1 << 20, holeSize, 4096, 333} {
		f := memoryFile(t)
		err := sparsely(f, func(w io.Writer) error {
			for rest := want; len(rest) > 0; {
				n := min(chunk, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("in pieces of %d: %d bytes that differ from the %d written, or %v", chunk, len(got), len(want), err)
		}
		runs, err := dataRuns(f, FileRange{0, int64(len(want))})
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) != 3 {
			t.Errorf("in pieces of %d: runs %v, want three", chunk, runs)
		}
	}
}

func TestSparseAllZeros(t *testing.T) {
	f := memoryFile(t)
	const size = 5*holeSize + 7
	if err := sparsely(f, func(w io.Writer) error { _, err := w.Write(make([]byte, size)); return err }); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("size %d, %v, want %d", info.Size(), err, size)
	}
	if runs, err := dataRuns(f, FileRange{0, size}); err != nil || len(runs) != 0 {
		t.Errorf("runs %v, %v, want none", runs, err)
	}
}

// TestDataRuns asks for every kind of stretch of a sparse file. What lies outside of the runs has to be zero, runs have
// to be in order, and far enough apart to be worth it.
func TestDataRuns(t *testing.T) {
	want := sparseContents()
	f := memoryFile(t)
	if err := sparsely(f, func(w io.Writer) error { _, err := w.Write(want); return err }); err != nil {
		t.Fatal(err)
	}
	edges := []int64{
		0, 1, pageSize, holeSize - 1, holeSize, 2 * holeSize, 4*holeSize + 100, 6 * holeSize, 6*holeSize + 9000,
		7 * holeSize, 11 * holeSize, 12 * holeSize, 12*holeSize + 1,
	}
	for _, from := range edges {
		for _, to := range edges {
			if to < from {
				continue
			}
			r := FileRange{from, to - from}
			runs, err := dataRuns(f, r)
			if err != nil {
				t.Fatal(err)
			}
			got, at := make([]byte, r.Size), from
			for i, run := range runs {
				if run.Size <= 0 || run.Offset < at || run.Offset+run.Size > to {
					t.Errorf("%v: runs %v", r, runs)
				}
				if i > 0 && run.Offset-at < holeSize {
					t.Errorf("%v: runs %v are close together", r, runs)
				}
				if run.Offset != from && run.Offset%pageSize != 0 {
					t.Errorf("%v: run at %#x", r, run.Offset)
				}
				at = run.Offset + run.Size
				copy(got[run.Offset-from:], want[run.Offset:at])
			}
			if !bytes.Equal(got, want[from:to]) {
				t.Errorf("%v: data outside of the runs %v", r, runs)
			}
		}
	}
}
