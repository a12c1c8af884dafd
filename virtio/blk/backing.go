package blk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrInUse is why a disk cannot be opened whose file is locked by another user.
var ErrInUse = errors.New("in use")

// backing is the file under a disk.
type backing struct {
	file  *os.File
	path  string
	size  int64
	block bool // a block device, not a regular file

	logical, physical int // sizes of a block in bytes
	alignment         int // bytes from the first block to the first physical one
	minIO, optIO      int // hints in bytes; 0 for none
}

// openBacking opens, checks and locks a file. What is neither a regular file nor a
// block device is refused before it is opened: to open a pipe or a tape has
// effects.
func openBacking(path string, readOnly bool) (b *backing, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, refuse(path, err)
	}
	b = &backing{path: path}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, refuse(path, unix.EISDIR)
	case mode.IsRegular():
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		b.block = true
	default:
		return nil, refuse(path, fmt.Errorf("neither a regular file nor a block device (%v)", mode.Type()))
	}
	flag, purpose := os.O_RDWR, " for writing"
	if readOnly {
		flag, purpose = os.O_RDONLY, ""
	}
	if b.file, err = os.OpenFile(path, flag, 0); err != nil {
		return nil, refuse(path+purpose, err)
	}
	file := b.file // b is nil once an error is returned
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	opened, err := file.Stat()
	if err != nil {
		return nil, refuse(path, err)
	}
	if !os.SameFile(info, opened) {
		return nil, refuse(path, errors.New("replaced while it was opened"))
	}
	if err := b.lock(readOnly); err != nil {
		return nil, refuse(path, err)
	}
	if err := b.measure(); err != nil {
		return nil, refuse(path, err)
	}
	return b, nil
}

// refuse names the disk; the path in an os.PathError would name it twice.
func refuse(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("open disk %s: %w", path, err)
}

// lock takes the whole file, for this open file description: a lock of the process
// (F_SETLK) would be lost when anybody in it closes the same file, and would not
// keep two disks of one process apart.
func (b *backing) lock(readOnly bool) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if readOnly {
		l.Type = unix.F_RDLCK
	}
	err := unix.FcntlFlock(b.file.Fd(), unix.F_OFD_SETLK, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrInUse
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// measure finds the size and the block sizes. A disk has whole sectors: to round a
// file up or down would hide bytes of it or invent some, so that one with a part of
// a sector is refused.
func (b *backing) measure() (err error) {
	// A block device's size is not in its stat.
	if b.size, err = b.file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	switch {
	case b.size == 0:
		return errors.New("empty: a disk has at least one sector of 512 bytes")
	case b.size%sectorSize != 0:
		return fmt.Errorf("size %d is not a multiple of 512 bytes", b.size)
	}
	if b.block {
		return b.measureDevice()
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(b.file.Fd()), &st); err != nil {
		return err
	}
	// What a file system prefers may be a megabyte; a disk's block is a page.
	b.logical, b.physical = sectorSize, min(int(st.Blksize), 4096)
	return nil
}

func (b *backing) measureDevice() error {
	for _, q := range []struct {
		name string
		req  uint
		to   *int
	}{
		{"BLKSSZGET", unix.BLKSSZGET, &b.logical},
		{"BLKPBSZGET", unix.BLKPBSZGET, &b.physical},
		{"BLKALIGNOFF", unix.BLKALIGNOFF, &b.alignment},
		{"BLKIOMIN", unix.BLKIOMIN, &b.minIO},
		{"BLKIOOPT", unix.BLKIOOPT, &b.optIO},
	} {
		v, err := unix.IoctlGetUint32(int(b.file.Fd()), q.req)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		*q.to = int(int32(v)) // an alignment may be -1: unknown
	}
	return nil
}

func (b *backing) close() error {
	if err := b.file.Close(); err != nil {
		return refuse(b.path, err)
	}
	return nil
}
