package blk

import (
	"errors"
	"fmt"
	"io"

	"tandem/virtio/internal/iovec"

	"golang.org/x/sys/unix"
)

// ioError says what could not be done to which disk. path and off are put into
// words only when somebody reads them.
func (b *backing) ioError(op string, off int64, err error) error {
	return fmt.Errorf("%s disk %s at %d: %w", op, b.path, off, err)
}

// read fills the pieces from the file at off. It uses the list up.
func (b *backing) read(v *iovec.Vector, pieces [][]byte, off int64) error {
	for len(pieces) > 0 {
		v.Reset()
		v.Add(pieces)
		n, err := v.Preadv(b.file.Fd(), off)
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF // the file has shrunk
		}
		if err != nil {
			return b.ioError("read", off, err)
		}
		pieces = advance(pieces, n)
		off += int64(n)
	}
	return nil
}

// write writes the pieces to the file at off, durably if asked. It uses the list
// up.
func (b *backing) write(v *iovec.Vector, pieces [][]byte, off int64, durable bool) error {
	flags := 0
	if durable {
		flags = unix.RWF_DSYNC
	}
	for len(pieces) > 0 {
		v.Reset()
		v.Add(pieces)
		n, err := v.Pwritev(b.file.Fd(), off, flags)
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return b.ioError("write", off, err)
		}
		pieces = advance(pieces, n)
		off += int64(n)
	}
	return nil
}

// advance drops the first n bytes of the pieces, in place.
func advance(pieces [][]byte, n int) [][]byte {
	for n > 0 {
		if n < len(pieces[0]) {
			pieces[0] = pieces[0][n:]
			break
		}
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	return pieces
}

// sync makes all that was written durable.
func (b *backing) sync() error {
	if err := retry(func() error { return unix.Fdatasync(int(b.file.Fd())) }); err != nil {
		return b.ioError("flush", 0, err)
	}
	return nil
}

// discard tells the file's storage that a range is not needed any more. It is a
// hint: storage that takes none is no error.
func (b *backing) discard(off, n int64) error {
	err := retry(func() error {
		if b.block {
			return blkdiscard(b.file, off, n)
		}
		return unix.Fallocate(int(b.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if err != nil && !unsupported(err) {
		return b.ioError("discard", off, err)
	}
	return nil
}

// zeros is what is written where the storage cannot zero by itself. It is only
// read.
var zeros [1 << 18]byte

// zero makes a range read as zeros; it may give up its storage if unmap is set.
func (b *backing) zero(v *iovec.Vector, off, n int64, unmap bool) error {
	modes := []uint32{unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}
	if unmap {
		modes = []uint32{unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, modes[0]}
	}
	for _, mode := range modes {
		err := retry(func() error { return unix.Fallocate(int(b.file.Fd()), mode, off, n) })
		if err == nil {
			return nil
		}
		if !unsupported(err) {
			return b.ioError("zero", off, err)
		}
	}
	return b.writeZeros(v, off, n)
}

func (b *backing) writeZeros(v *iovec.Vector, off, n int64) error {
	for end := off + n; off < end; {
		piece := zeros[:min(int64(len(zeros)), end-off)]
		if err := b.write(v, [][]byte{piece}, off, false); err != nil {
			return err
		}
		off += int64(len(piece))
	}
	return nil
}

// unsupported tells whether storage has no such operation, or not for this range:
// block devices answer EINVAL for what is not whole logical blocks.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
