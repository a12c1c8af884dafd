package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holeSize is the least stretch of zeros that is worth a hole: each splits a segment, and the memory map with it.
const holeSize = 64 << 10

// sparsely lets fill write the file's contents, and leaves a hole wherever they are zero for long enough: most of a
// kernel's .bss is in its file. A hole costs no disk, and a loader that finds it needs not load it.
func sparsely(f *os.File, fill func(io.Writer) error) error {
	w := &sparseWriter{file: f}
	if err := fill(w); err != nil {
		return err
	}
	return w.finish()
}

// sparseWriter writes a file from its start, without the blocks of holeSize that are all zeros.
type sparseWriter struct {
	file  *os.File
	block []byte // not written yet, less than holeSize
	at    int64  // where it belongs
}

func (w *sparseWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), holeSize-len(w.block))
		w.block, p = append(w.block, p[:n]...), p[n:]
		if len(w.block) == holeSize {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

var zeros [holeSize]byte

func (w *sparseWriter) flush() error {
	if !bytes.Equal(w.block, zeros[:len(w.block)]) {
		if _, err := w.file.WriteAt(w.block, w.at); err != nil {
			return err
		}
	}
	w.at += int64(len(w.block))
	w.block = w.block[:0]
	return nil
}

// finish writes the last block and gives the file its length, which a hole at its end doesn't.
func (w *sparseWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.file.Truncate(w.at)
}

// dataRuns returns the parts of r, a stretch of f, that are not in holes of holeSize or more. They start and end at pages
// of the file, or at r's ends. A file system that knows no holes has one run.
func dataRuns(f *os.File, r FileRange) ([]FileRange, error) {
	var runs []FileRange
	end := r.Offset + r.Size
	for at := r.Offset; at < end; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no more data
		}
		if err != nil {
			return nil, fmt.Errorf("seek data in %s: %w", f.Name(), err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("seek hole in %s: %w", f.Name(), err)
		}
		start, stop := max(r.Offset, data&^(pageSize-1)), min(end, int64(roundUp(uint64(hole), pageSize)))
		at = max(stop, at+1)
		switch last := len(runs) - 1; {
		case start >= end:
		case last >= 0 && start-(runs[last].Offset+runs[last].Size) < holeSize:
			runs[last].Size = stop - runs[last].Offset
		case last < 0 && start-r.Offset < holeSize:
			runs = append(runs, FileRange{r.Offset, stop - r.Offset})
		default:
			runs = append(runs, FileRange{start, stop - start})
		}
	}
	return runs, nil
}
