package cp

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PackOptions are how a tree becomes an archive.
type PackOptions struct {
	// Xattrs are put into the archive too: the user's, and file capabilities.
	Xattrs bool
	// Count, if not nil, is told the bytes of files as they go by.
	Count func(n int64)
	// Warn, if not nil, is told what is left out: sockets, and what went away meanwhile.
	Warn func(format string, args ...any)
}

// maxDepth is how deep folders may lie in each other: each that is open takes a descriptor.
const maxDepth = 1000

// ErrTooDeep is a tree with more folders in each other.
var ErrTooDeep = fmt.Errorf("more than %d folders in each other", maxDepth)

// Pack writes a source as an archive, its topmost entry by a name; "." is a folder's contents, with their own names.
func Pack(w io.Writer, s *Source, name string, o PackOptions) error {
	p := &packer{tar: tar.NewWriter(w), PackOptions: o, links: make(map[fileID]string)}
	if err := p.add(s.file, s.stat, name, 0); err != nil {
		return err
	}
	return p.tar.Close()
}

type fileID struct{ dev, ino uint64 }

type packer struct {
	PackOptions
	tar   *tar.Writer
	links map[fileID]string // of files with more than one name, the first that was met
}

func (p *packer) warn(format string, args ...any) {
	if p.Warn != nil {
		p.Warn(format, args...)
	}
}

// add writes an entry, and for a folder all in it. The file was opened by O_PATH, and stat is its own.
func (p *packer) add(f *os.File, stat unix.Stat_t, name string, depth int) error {
	h := header(stat, name)
	kind := stat.Mode & unix.S_IFMT
	switch kind {
	case unix.S_IFDIR:
		return p.addFolder(f, h, name, depth)
	case unix.S_IFSOCK:
		p.warn("%s is left out: it is a socket", name)
		return nil
	case unix.S_IFLNK:
		link, err := readLink(f)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, link
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	id := fileID{stat.Dev, stat.Ino}
	if first, met := p.links[id]; met && stat.Nlink > 1 {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return p.tar.WriteHeader(h)
	}
	if stat.Nlink > 1 {
		p.links[id] = name
	}
	if kind == unix.S_IFREG {
		return p.addFile(f, h)
	}
	return p.tar.WriteHeader(h)
}

func header(stat unix.Stat_t, name string) *tar.Header {
	return &tar.Header{
		Format: tar.FormatPAX, Name: name, Mode: int64(stat.Mode & 0o7777), Uid: int(stat.Uid), Gid: int(stat.Gid),
		ModTime: time.Unix(stat.Mtim.Unix()), Typeflag: tar.TypeReg,
		Devmajor: int64(unix.Major(stat.Rdev)), Devminor: int64(unix.Minor(stat.Rdev)),
	}
}

func readLink(f *os.File) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buffer)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(buffer[:n]), nil
}

func (p *packer) addFile(f *os.File, h *tar.Header) error {
	file, err := reopen(f, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := statOf(file)
	if err != nil {
		return err
	}
	h.Size = stat.Size
	if err := p.xattrs(file, h); err != nil {
		return err
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	// A file that grows is cut off, and one that shrinks is filled up: the archive has said how long it is.
	n, err := io.Copy(&counter{p.tar, p.Count}, io.LimitReader(file, h.Size))
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if n < h.Size {
		p.warn("%s became shorter while it was read", h.Name)
		_, err = io.CopyN(p.tar, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

type counter struct {
	w     io.Writer
	count func(int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if c.count != nil {
		c.count(int64(n))
	}
	return n, err
}

func (p *packer) addFolder(f *os.File, h *tar.Header, name string, depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("%s: %w", name, ErrTooDeep)
	}
	folder, err := reopen(f, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer folder.Close()
	made, err := madeByKernel(folder)
	if err != nil {
		return err
	}
	if made {
		p.warn("%s is left out: its files are the kernel's, and none of them has an end", name)
		return nil
	}
	h.Typeflag, h.Name = tar.TypeDir, name+"/"
	if err := p.xattrs(folder, h); err != nil {
		return err
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	for {
		names, err := folder.Readdirnames(256)
		for _, base := range names {
			if err := p.addChild(folder, base, path.Join(name, base), depth+1); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// madeByKernel tells file systems that show what the kernel knows: to read all of it may take for ever, and what it says is
// not what lies on a disk.
func madeByKernel(folder *os.File) (bool, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(folder.Fd()), &s); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: folder.Name(), Err: err}
	}
	switch s.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return true, nil
	}
	return false, nil
}

// addChild opens a name in a folder. What is there is what is packed, whatever was there when the folder was read.
func (p *packer) addChild(folder *os.File, base, name string, depth int) error {
	if base == "" || strings.ContainsRune(base, '/') {
		return fmt.Errorf("%w: a file system has %q in a folder", ErrPath, base)
	}
	f, err := openat2(int(folder.Fd()), base, unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH})
	if errors.Is(err, fs.ErrNotExist) {
		p.warn("%s is left out: it went away meanwhile", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	stat, err := statOf(f)
	if err != nil {
		return err
	}
	return p.add(f, stat, name, depth)
}
