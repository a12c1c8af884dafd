package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Devices tells what to do with device nodes in an archive. Whiteouts, which look like one, are always made.
type Devices int

// What to do with them.
const (
	MakeDevices   Devices = iota // as CAP_MKNOD allows
	SkipDevices                  // leave them out: the engine puts those into /dev that a container needs
	RefuseDevices                // fail with ErrDevice
)

// Options say how a layer is unpacked. The zero value makes what the archive says, and is for root.
type Options struct {
	Limits    Limits
	Devices   Devices
	UserXattr bool // mark whiteouts for overlayfs's option userxattr, and set no attribute that only root may

	// Owner maps the owner in the archive to the one that a file gets; nil is the archive's own.
	Owner func(uid, gid uint32) (int, int, error)
	// Parents tells what a folder looks like that the archive implies, from the layers below; nil knows none.
	Parents func(path string) (Entry, bool)
	// Spend is told of each file's bytes before they are written, and may refuse them; nil allows all.
	Spend func(bytes int64) error
	// Record is given each entry that was made, folders last; nil is nobody.
	Record func(Entry) error
}

// A Result tells what was unpacked.
type Result struct {
	Entries  int      // names, implied folders included
	Bytes    int64    // of all files
	Disk     int64    // that they take, in blocks of 4 KiB
	Root     Entry    // of the layer; if it is opaque, the layer hides all layers below it
	Implied  bool     // some folders are, the root aside
	Skipped  int      // devices and attributes that were left out
	Examples []string // of what was skipped, the first few
}

// Unpack reads a tar archive to the end of r and makes its files in the folder dir, which has to be empty and nobody
// else's. What is left in it after an error is for the caller to remove. Errors name the entry.
func Unpack(ctx context.Context, dir *os.File, r io.Reader, o Options) (Result, error) {
	umask, err := readUmask()
	if err != nil {
		return Result{}, fmt.Errorf("layer: unpack: %w", err)
	}
	u := &unpacker{
		Options: o,
		ctx:     ctx,
		tree:    newTree(int(dir.Fd()), umask),
		umask:   umask,
		buffer:  make([]byte, bufferSize),
		uid:     os.Geteuid(),
		gid:     os.Getegid(),
	}
	// With the set-group-ID bit, which a folder inherits, all that is made in it would have its group.
	if err := errors.Join(unix.Fchown(int(dir.Fd()), u.uid, u.gid), unix.Fchmod(int(dir.Fd()), 0o700)); err != nil {
		return Result{}, fmt.Errorf("layer: unpack: take the folder: %w", err)
	}
	u.writers = startWriters(u.writeSmall)
	u.tree.wait = u.writers.waiting.Wait
	defer u.tree.close()
	defer u.writers.stop()
	defer runtime.KeepAlive(dir) // the tree has its descriptor alone
	if err := u.run(r); err != nil {
		return Result{}, fmt.Errorf("layer: unpack: %w", err)
	}
	return u.result, nil
}

type unpacker struct {
	Options
	ctx      context.Context
	tree     *tree
	archive  *tar.Reader
	umask    uint32
	uid, gid int // what new files have
	buffer   []byte
	writers  *writers
	disk     atomic.Int64
	result   Result
}

func (u *unpacker) run(r io.Reader) error {
	limited := &limitReader{r: r, left: u.Limits.Stream(), limit: u.Limits.Stream()}
	buffered := bufio.NewReaderSize(limited, 128<<10)
	u.archive = tar.NewReader(buffered)
	for {
		header, err := u.archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.broken(err)
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if u.writers.failed.Load() {
			return u.writers.wait()
		}
		if err := u.entry(header); err != nil {
			if e := u.writers.wait(); e != nil { // it came first
				return e
			}
			return fmt.Errorf("%.*q: %w", unix.PathMax, header.Name, err)
		}
	}
	if err := u.writers.wait(); err != nil {
		return err
	}
	// What follows the end of the archive counts for the digest of the layer.
	if _, err := buffered.WriteTo(io.Discard); err != nil {
		return u.broken(err)
	}
	return u.finish()
}

// broken tells a reader's failure from an archive's: the latter has no other name.
func (u *unpacker) broken(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("%w: %w", ErrArchive, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends early", ErrArchive)
	}
	return err
}

// entry makes what one header stands for.
func (u *unpacker) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == 'V' { // for all entries; a label of the volume
		return nil
	}
	path, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	what, path, err := readName(path)
	if err != nil || what == nothing {
		return err
	}
	u.result.Entries++
	if err := u.checkCount(); err != nil {
		return err
	}
	switch what {
	case whiteout:
		return u.whiteout(path)
	case opaque:
		return u.opaque(path)
	}
	e, err := newEntry(h, path)
	if err != nil {
		return err
	}
	switch e.Kind {
	case Dir:
		return u.dir(e)
	case File:
		err = u.file(e, isSparse(h), h.Name)
	case HardLink:
		err = u.hardLink(e)
	default:
		err = u.node(e)
	}
	return err
}

// checkCount holds what has been made so far against the limit. A name of two thousand parts is one entry, and as many
// folders.
func (u *unpacker) checkCount() error {
	if u.Limits.Entries > 0 && u.result.Entries+u.tree.implied > u.Limits.Entries {
		return fmt.Errorf("the archive has more than %d entries: %w", u.Limits.Entries, ErrTooLarge)
	}
	if u.tree.kept > maxKept {
		return fmt.Errorf("the names and attributes of its folders have more than %d bytes: %w", maxKept, ErrTooLarge)
	}
	return nil
}

// newEntry checks what a header says.
func newEntry(h *tar.Header, path string) (*Entry, error) {
	e := &Entry{Path: path, Mode: uint32(h.Mode & 0o7777), ModTime: h.ModTime, Size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Kind = File
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink:
		e.Kind = Symlink
	case tar.TypeLink:
		e.Kind = HardLink
	case tar.TypeChar:
		e.Kind = Char
	case tar.TypeBlock:
		e.Kind = Block
	case tar.TypeFifo:
		e.Kind = FIFO
	default:
		return nil, fmt.Errorf("entry of type %q: %w", h.Typeflag, ErrArchive)
	}
	if e.Kind != File {
		e.Size = 0
	}
	if path == "." && e.Kind != Dir {
		return nil, fmt.Errorf("the root of the layer is no folder: %w", ErrArchive)
	}
	if e.Size < 0 {
		return nil, fmt.Errorf("size %d: %w", h.Size, ErrArchive)
	}
	// The highest ID is invalid: chown(2) takes it for "as it is".
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d: %w", h.Uid, h.Gid, ErrArchive)
	}
	e.UID, e.GID = uint32(h.Uid), uint32(h.Gid)
	if e.Kind == Symlink || e.Kind == HardLink {
		e.Link = h.Linkname
	}
	if e.Kind == Char || e.Kind == Block {
		// dev_t of the kernel has 12 bits of major and 20 of minor number.
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor >= 1<<12 || h.Devminor >= 1<<20 {
			return nil, fmt.Errorf("device %d:%d: %w", h.Devmajor, h.Devminor, ErrArchive)
		}
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	}
	var err error
	e.Xattrs, err = readXattrs(h.PAXRecords)
	return e, err
}

// isSparse tells whether the archive says that the file has holes.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// record tells of an entry, and keeps the time of a folder that has none of its own: that of the last change in it.
func (u *unpacker) record(parent *folder, e Entry) error {
	if parent.Implied && e.ModTime.After(parent.ModTime) {
		parent.ModTime = e.ModTime
	}
	if u.Record == nil {
		return nil
	}
	return u.Record(e)
}

// skip counts something that is left out.
func (u *unpacker) skip(format string, args ...any) {
	const few = 10
	if u.result.Skipped++; len(u.result.Examples) < few {
		u.result.Examples = append(u.result.Examples, fmt.Sprintf(format, args...))
	}
}

// timespec is what the kernel takes; it puts what a file system cannot hold to the nearest that it can.
func timespec(t time.Time) []unix.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return []unix.Timespec{ts, ts}
}

// readUmask gives what the kernel takes away from the mode of each new file. umask(2) could tell only by changing it,
// for all threads.
func readUmask() (uint32, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Umask:"); ok {
			var umask uint32
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%o", &umask); err != nil {
				return 0, fmt.Errorf("umask %q: %w", value, err)
			}
			return umask, nil
		}
	}
	return 0, errors.New("/proc/self/status tells no umask")
}
