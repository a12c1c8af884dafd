package cpio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// An Entry is one header of an archive. Mode, the owners and the device numbers are as in struct stat.
type Entry struct {
	Name           string
	Mode           uint32
	Ino, Nlink     uint32
	UID, GID       uint32
	MTime          uint32
	Size           uint32
	RMajor, RMinor uint32
}

// IsRegular tells a regular file.
func (e Entry) IsRegular() bool { return e.Mode&unix.S_IFMT == unix.S_IFREG }

// IsDir tells a folder.
func (e Entry) IsDir() bool { return e.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsSymlink tells a symbolic link, whose body is its target.
func (e Entry) IsSymlink() bool { return e.Mode&unix.S_IFMT == unix.S_IFLNK }

// A Reader reads the entries of uncompressed archives that stand one after the other, like the kernel does.
type Reader struct {
	r       *bufio.Reader
	under   io.Reader // the stream below r
	seek    io.Seeker // the same, if it can
	last    int64     // where the last header began
	off     int64     // from the start of the buffer: alignment counts from there
	left    int64     // what the caller has not read of the current body
	inside  bool      // an archive has begun and its trailer has not come yet
	started bool
}

// NewReader returns a Reader on r. If r is an io.Seeker, bodies that nobody reads are leapt over.
func NewReader(r io.Reader) *Reader {
	s, _ := r.(io.Seeker)
	return &Reader{r: bufio.NewReaderSize(r, 16<<10), under: r, seek: s}
}

// Between tells, after Next has failed, whether it failed on the first header of an archive behind another one, and
// where that begins: something else than a cpio archive may follow there.
func (r *Reader) Between() (offset int64, ok bool) { return r.last, r.started && !r.inside }

// Next goes to the next entry, over what is left of the current body, and over trailers and the padding behind them. At
// the end it returns [io.EOF], if at least one archive was there and the last one had its trailer.
func (r *Reader) Next() (Entry, error) {
	if err := r.skip(r.left); err != nil {
		return Entry{}, r.fail("body", err)
	}
	r.left = 0
	for {
		if err := r.align(); err != nil {
			return Entry{}, r.fail("padding", err)
		}
		if !r.inside {
			more, err := r.zeros()
			if err != nil {
				return Entry{}, r.fail("padding between archives", err)
			}
			if !more {
				if !r.started {
					return Entry{}, fmt.Errorf("cpio: read: empty: %w", ErrFormat)
				}
				return Entry{}, io.EOF
			}
		}
		e, err := r.header()
		if err != nil {
			return Entry{}, err
		}
		r.started = true
		r.inside = e.Name != trailerName
		if r.inside {
			r.left = int64(e.Size)
			return e, nil
		}
	}
}

// Read reads from the body of the current entry, up to its end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.r.Read(p)
	r.off += int64(n)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = r.fail("body", io.ErrUnexpectedEOF)
	}
	return n, err
}

func (r *Reader) header() (Entry, error) {
	at := r.off
	r.last = at
	bad := func(format string, args ...any) (Entry, error) {
		return Entry{}, fmt.Errorf("cpio: read header at byte %d: %s: %w", at, fmt.Sprintf(format, args...), ErrFormat)
	}
	var h [headerSize]byte
	if n, err := r.full(h[:]); err != nil {
		if n > 0 && n < len(magic) || n >= len(magic) && string(h[:len(magic)]) != magic {
			return bad("magic %q", h[:min(n, len(magic))])
		}
		return Entry{}, r.fail("header", err)
	}
	if m := string(h[:len(magic)]); m != magic && m != magicCRC {
		return bad("magic %q", m)
	}
	var v [13]uint32
	for i := range v {
		digits := string(h[len(magic)+8*i:][:8])
		n, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			return bad("field %d is %q", i, digits)
		}
		v[i] = uint32(n)
	}
	e := Entry{
		Ino: v[0], Mode: v[1], UID: v[2], GID: v[3], Nlink: v[4], MTime: v[5],
		Size: v[6], RMajor: v[9], RMinor: v[10],
	}
	size := v[11]
	if size < 2 || size > MaxName {
		return bad("name of %d bytes", size)
	}
	name := make([]byte, size)
	if _, err := r.full(name); err != nil {
		return Entry{}, r.fail("name", err)
	}
	if name[size-1] != 0 {
		return bad("name %q does not end with NUL", name)
	}
	e.Name = string(name[:size-1])
	if e.Name == trailerName {
		if e.Size != 0 {
			return bad("trailer with a body of %d bytes", e.Size)
		}
		return e, nil
	}
	// What other tools write is taken as the kernel takes it: "./etc" and "/etc" are the same as "etc".
	if _, err := clean(trimDot(e.Name)); err != nil {
		return Entry{}, fmt.Errorf("cpio: read header at byte %d: %w", at, err)
	}
	switch kind := e.Mode & unix.S_IFMT; kind {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		if e.Size == 0 || e.Size >= MaxName {
			return bad("link %q with a target of %d bytes", e.Name, e.Size)
		}
	case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		if e.Size != 0 {
			return bad("%q of mode %#o with a body of %d bytes", e.Name, e.Mode, e.Size)
		}
	default:
		return bad("%q of unknown mode %#o", e.Name, e.Mode)
	}
	return e, r.align()
}

func trimDot(name string) string {
	for len(name) > 2 && name[0] == '.' && name[1] == '/' {
		name = name[2:]
	}
	return name
}

// zeros goes over the padding between archives, and tells if anything follows.
func (r *Reader) zeros() (bool, error) {
	for {
		b, err := r.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if b != 0 {
			if r.off&3 != 0 {
				return false, fmt.Errorf("archive starts at byte %d, not a multiple of 4: %w", r.off, ErrFormat)
			}
			return true, r.r.UnreadByte()
		}
		r.off++
	}
}

// align reads up to the next multiple of four; the end of the stream is as good as padding behind a trailer.
func (r *Reader) align() error {
	for r.off&3 != 0 {
		b, err := r.r.ReadByte()
		if errors.Is(err, io.EOF) && !r.inside {
			return nil
		}
		if err != nil {
			return unexpected(err)
		}
		if b != 0 {
			return fmt.Errorf("padding byte is %#x: %w", b, ErrFormat)
		}
		r.off++
	}
	return nil
}

func (r *Reader) skip(n int64) error {
	if beyond := n - int64(r.r.Buffered()); r.seek != nil && beyond > 0 {
		// Behind the end there is no error yet; the next header is missing then.
		if _, err := r.seek.Seek(beyond, io.SeekCurrent); err != nil {
			return err
		}
		r.r.Reset(r.under)
		r.off += n
		return nil
	}
	for n > 0 {
		d, err := r.r.Discard(int(min(n, 1<<30)))
		r.off += int64(d)
		n -= int64(d)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// full reads all of p.
func (r *Reader) full(p []byte) (int, error) {
	n, err := io.ReadFull(r.r, p)
	r.off += int64(n)
	return n, unexpected(err)
}

func (r *Reader) fail(what string, err error) error {
	return fmt.Errorf("cpio: read %s at byte %d: %w", what, r.off, err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
