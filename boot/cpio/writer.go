package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// PageSize is what the end of an archive is aligned to.
	PageSize = 4096
	// MaxFileSize is the largest body that a header's eight digits can tell.
	MaxFileSize = math.MaxUint32
	// MaxName is the longest name with its NUL that the kernel takes (PATH_MAX); a longer entry is skipped in silence.
	MaxName = unix.PathMax

	magic       = "070701"
	magicCRC    = "070702" // the same with a checksum of the body; the kernel reads both
	headerSize  = 110
	trailerName = "TRAILER!!!"
	// mtime is the stamp of every entry: 1980-01-01, the earliest that zip-minded tools don't complain of.
	mtime = 315532800
)

// Errors that say why an entry was refused; they come wrapped with the entry's name.
var (
	ErrName     = errors.New("invalid name")
	ErrTooLarge = errors.New("larger than 4 GiB - 1, the most that a newc header can tell")
	ErrExists   = errors.New("already in the archive")
	ErrNotDir   = errors.New("parent is not a folder")
	ErrFormat   = errors.New("not a newc archive")
	ErrClosed   = errors.New("archive is closed")
)

// A Writer writes one archive to a stream. Names are slash-separated and relative to the root ("etc/passwd"; a
// leading slash is allowed and dropped). Parents are made as they are needed, with mode 0755, owner root.
// A Writer is for one goroutine. After an error from the stream itself all further calls return it.
type Writer struct {
	w    io.Writer
	off  int64
	ino  uint32
	seen map[string]uint32 // name -> S_IFMT bits
	err  error
}

// NewWriter returns a Writer on w, whose first byte must land at a multiple of four in the final buffer.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, seen: map[string]uint32{"": unix.S_IFDIR}}
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.off }

// Dir adds a folder with the nine permission bits (and setuid, setgid, sticky as in st_mode) of perm. A folder that is
// there already, made as somebody's parent or by an earlier call, is no error: the kernel gives it the later mode.
func (w *Writer) Dir(name string, perm uint32) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	if name == "" {
		return w.entry(Entry{Name: ".", Mode: unix.S_IFDIR | perm&0o7777}, nil)
	}
	if kind, ok := w.seen[name]; ok && kind != unix.S_IFDIR {
		return fmt.Errorf("cpio: add %q: %w", name, ErrExists)
	}
	if err := w.parents(name); err != nil {
		return err
	}
	return w.entry(Entry{Name: name, Mode: unix.S_IFDIR | perm&0o7777}, nil)
}

// File adds a regular file whose body is exactly the next size bytes of r. A reader that ends early breaks the
// archive, and is reported as [io.ErrUnexpectedEOF] by this and all later calls.
func (w *Writer) File(name string, perm uint32, size int64, r io.Reader) error {
	if size < 0 || size > MaxFileSize {
		return fmt.Errorf("cpio: add %q of %d bytes: %w", name, size, ErrTooLarge)
	}
	return w.add(Entry{Name: name, Mode: unix.S_IFREG | perm&0o7777, Size: uint32(size)}, r)
}

// Bytes adds a regular file that holds data.
func (w *Writer) Bytes(name string, perm uint32, data []byte) error {
	return w.File(name, perm, int64(len(data)), bytes.NewReader(data))
}

// Symlink adds a symbolic link to target, which is stored as it is.
func (w *Writer) Symlink(name, target string) error {
	if target == "" || len(target) >= MaxName || strings.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("cpio: add link %q to %q: target: %w", name, target, ErrName)
	}
	return w.add(Entry{Name: name, Mode: unix.S_IFLNK | 0o777, Size: uint32(len(target))}, strings.NewReader(target))
}

// Device adds a device node; mode holds S_IFCHR or S_IFBLK and the permissions.
func (w *Writer) Device(name string, mode, major, minor uint32) error {
	if t := mode & unix.S_IFMT; t != unix.S_IFCHR && t != unix.S_IFBLK {
		return fmt.Errorf("cpio: add device %q: mode %#o is neither S_IFCHR nor S_IFBLK", name, mode)
	}
	return w.add(Entry{Name: name, Mode: mode, RMajor: major, RMinor: minor}, nil)
}

// Close writes the trailer and zeros up to the next page boundary. It does not close the stream.
func (w *Writer) Close() error {
	if err := w.entry(Entry{Name: trailerName}, nil); err != nil {
		return err
	}
	if err := w.pad(PageSize); err != nil {
		return err
	}
	w.err = ErrClosed
	return nil
}

func (w *Writer) add(e Entry, body io.Reader) error {
	name, err := clean(e.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return fmt.Errorf("cpio: add %q: %w", e.Name, ErrName)
	}
	if _, ok := w.seen[name]; ok {
		return fmt.Errorf("cpio: add %q: %w", name, ErrExists)
	}
	if err := w.parents(name); err != nil {
		return err
	}
	e.Name = name
	return w.entry(e, body)
}

// parents adds the folders above name that are missing, outermost first.
func (w *Writer) parents(name string) error {
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		dir := name[:i]
		switch kind, ok := w.seen[dir]; {
		case !ok:
			if err := w.entry(Entry{Name: dir, Mode: unix.S_IFDIR | 0o755}, nil); err != nil {
				return err
			}
		case kind != unix.S_IFDIR:
			return fmt.Errorf("cpio: add %q below %q: %w", name, dir, ErrNotDir)
		}
	}
	return nil
}

func (w *Writer) entry(e Entry, body io.Reader) error {
	if w.err != nil {
		return fmt.Errorf("cpio: add %q: %w", e.Name, w.err)
	}
	nlink, stamp := uint32(1), uint32(mtime)
	switch {
	case e.Name == trailerName:
		stamp = 0
	case e.Mode&unix.S_IFMT == unix.S_IFDIR:
		nlink = 2
		fallthrough
	default:
		w.ino++
		w.seen[e.Name] = e.Mode & unix.S_IFMT
	}
	ino := w.ino
	if e.Name == trailerName {
		ino = 0
	}
	head := fmt.Appendf(make([]byte, 0, headerSize+len(e.Name)+4), "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		magic, ino, e.Mode, e.UID, e.GID, nlink, stamp, e.Size, 0, 0, e.RMajor, e.RMinor, len(e.Name)+1, 0, e.Name)
	if err := w.write(head); err != nil {
		return err
	}
	if err := w.pad(4); err != nil || e.Size == 0 {
		return err
	}
	n, err := io.CopyN(w.w, body, int64(e.Size))
	w.off += n
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		w.err = err
		return fmt.Errorf("cpio: write body of %q: %d of %d bytes: %w", e.Name, n, e.Size, err)
	}
	return w.pad(4)
}

var zeros [PageSize]byte

// pad writes zeros up to the next multiple of align, a power of two up to PageSize.
func (w *Writer) pad(align int64) error {
	return w.write(zeros[:-w.off&(align-1)])
}

func (w *Writer) write(p []byte) error {
	n, err := w.w.Write(p)
	w.off += int64(n)
	if err != nil {
		w.err = err
		return fmt.Errorf("cpio: write: %w", err)
	}
	return nil
}

// clean gives the form of a name that goes into the archive, or tells what is wrong with it. "." and ".." are
// refused wherever they stand: the kernel would follow them.
func clean(name string) (string, error) {
	s := strings.TrimPrefix(name, "/")
	if s == "" || s == "." {
		return "", nil
	}
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("cpio: name %q: %w: %s", name, ErrName, why)
	}
	switch {
	case len(s) >= MaxName:
		return bad("longer than PATH_MAX")
	case strings.IndexByte(s, 0) >= 0:
		return bad("holds a NUL")
	case s == trailerName:
		return bad("marks the end of an archive")
	}
	for part := range strings.SplitSeq(s, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return bad("has an empty, . or .. part")
		case len(part) > unix.NAME_MAX:
			return bad("has a part longer than NAME_MAX")
		}
	}
	return s, nil
}
