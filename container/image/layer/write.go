package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 256 << 10
	holeSize   = 64 << 10 // zeros that become a hole in a file which does not say that it has some
	blockSize  = 4 << 10  // and in one that does
)

var zeros [holeSize]byte

// write fills a new file with size bytes of the archive's current entry. Zeros become holes: a file reads the same,
// and a gigabyte of them, which any archive can have in a few kilobytes, takes no place on the disk.
func (u *unpacker) write(fd int, size int64, sparse bool) error {
	grain := holeSize
	if sparse {
		grain = blockSize
	}
	hole := false // at the end
	for done := int64(0); done < size; {
		chunk := u.buffer[:min(int64(len(u.buffer)), size-done)]
		if err := u.read(chunk); err != nil {
			return err
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
		var err error
		var written int64
		if hole, written, err = writeSparse(fd, chunk, done, grain); err != nil {
			return err
		}
		u.disk.Add(blocks(written))
		done += int64(len(chunk))
	}
	if hole {
		return truncate(fd, size)
	}
	return nil
}

// read fills a buffer with what comes next of the archive's current entry.
func (u *unpacker) read(buffer []byte) error {
	_, err := io.ReadFull(u.archive, buffer)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return u.broken(err)
}

// truncate gives a file that ends with a hole its length.
func truncate(fd int, size int64) error {
	if err := unix.Ftruncate(fd, size); err != nil {
		return fmt.Errorf("make the file %d bytes long: %w", size, err)
	}
	return nil
}

// blocks is the disk space that bytes take.
func blocks(bytes int64) int64 { return (bytes + blockSize - 1) &^ (blockSize - 1) }

// writeSparse writes data at an offset but for whole grains of zeros. It tells whether the data ends with one, and how
// much it wrote.
func writeSparse(fd int, data []byte, at int64, grain int) (hole bool, written int64, err error) {
	from, to := 0, 0 // what has to be written and is not yet
	for to < len(data) {
		n := min(grain, len(data)-to)
		zero := n == grain && data[to] == 0 && bytes.Equal(data[to:to+n], zeros[:n])
		if zero {
			if err := pwrite(fd, data[from:to], at+int64(from)); err != nil {
				return false, 0, err
			}
			written += int64(to - from)
			from = to + n
		}
		hole = zero
		to += n
	}
	return hole, written + int64(len(data)-from), pwrite(fd, data[from:], at+int64(from))
}

func pwrite(fd int, data []byte, at int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}
