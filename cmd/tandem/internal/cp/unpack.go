package cp

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// UnpackOptions are how an archive becomes files.
type UnpackOptions struct {
	// Archive keeps owners, set-user-ID bits and extended attributes. Without it files are the Owner's.
	Archive bool
	// Owner, if not nil, is whose new files are. Nil is whoever calls.
	Owner *[2]int
	// Devices are made. Without it they are left out, with a warning: a device node of a container's making opens the
	// host's device to whoever its mode names.
	Devices bool
	// Warn, if not nil, is told what is left out.
	Warn func(format string, args ...any)
}

// ErrEscape is an archive with a name that leads out of where it is unpacked.
var ErrEscape = errors.New("leads out of the folder")

// Unpack makes the files of an archive. The archive may be hostile, and so may be what is there already, and change.
func (t *Target) Unpack(r io.Reader, o UnpackOptions) error {
	u := &unpacker{UnpackOptions: o, target: t}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := u.entry(h, archive); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what pads its end: whoever writes it waits for that to be read
		return err
	}
	return u.finish()
}

type unpacker struct {
	UnpackOptions
	target  *Target
	folders []*tar.Header // to get their modes and times when nothing is made in them any more
}

func (u *unpacker) warn(format string, args ...any) {
	if u.Warn != nil {
		u.Warn(format, args...)
	}
}

// cleanName is a name from the folder on, "." for the folder itself.
func cleanName(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("archive: %w %q", ErrPath, name)
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("archive: %q %w", name, ErrEscape)
	}
	return path.Clean(strings.TrimLeft(path.Clean(name), "/")), nil
}

func (u *unpacker) entry(h *tar.Header, contents io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	h.Name = name
	if u.target.onto != nil {
		return u.onto(h, contents)
	}
	if name == "." {
		if h.Typeflag == tar.TypeDir {
			return nil // the folder is there, and stays as it is
		}
		return fmt.Errorf("archive: %w %q", ErrPath, name)
	}
	parent, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := u.make(parent, path.Base(name), h, contents); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// onto writes to a file that is there: it stays the same file, which may be a mount, or have more names.
func (u *unpacker) onto(h *tar.Header, contents io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("archive: %q is no file", h.Name)
	}
	return u.overwrite(u.target.onto, h, contents)
}

// resolve opens a folder below the target's.
func (u *unpacker) resolve(name string, flags int) (*os.File, error) {
	t := u.target
	if t.place.Root == nil {
		return openat2(int(t.folder.Fd()), name, unix.OpenHow{
			Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
	}
	return t.place.open(path.Join("/", t.path, name), flags) // its links are its own: /lib may lead to /usr/lib
}

// parent opens a folder, and makes it and those above it if they are not there.
func (u *unpacker) parent(name string) (*os.File, error) {
	f, err := u.resolve(name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || name == "." {
		return f, err
	}
	above, err := u.parent(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	if err := unix.Mkdirat(int(above.Fd()), path.Base(name), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if err := u.chown(above, path.Base(name), &tar.Header{}); err != nil {
		return nil, err
	}
	return u.resolve(name, unix.O_PATH|unix.O_DIRECTORY)
}

func (u *unpacker) make(parent *os.File, base string, h *tar.Header, contents io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(parent, base, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(parent, base, h, contents)
	case tar.TypeSymlink:
		return u.replace(parent, base, h, func(dir int) error { return unix.Symlinkat(h.Linkname, dir, base) })
	case tar.TypeLink:
		return u.link(parent, base, h)
	case tar.TypeFifo:
		return u.node(parent, base, h, unix.S_IFIFO)
	case tar.TypeChar, tar.TypeBlock:
		if !u.Devices {
			u.warn("%s is left out: it is a device", h.Name)
			return nil
		}
		kind := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		return u.node(parent, base, h, kind)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return fmt.Errorf("an entry of type %q, which is none that can be unpacked", h.Typeflag)
}

func (u *unpacker) folder(parent *os.File, base string, h *tar.Header) error {
	err := unix.Mkdirat(int(parent.Fd()), base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		f, err := u.resolve(h.Name, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("there is something else than a folder already: %w", err)
		}
		return f.Close() // it stays as it is, as docker has it
	}
	if err != nil {
		return os.NewSyscallError("mkdirat", err)
	}
	u.folders = append(u.folders, h)
	return u.chown(parent, base, h)
}

func (u *unpacker) file(parent *os.File, base string, h *tar.Header, contents io.Reader) error {
	how := unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW, Mode: 0o600, Resolve: unix.RESOLVE_BENEATH}
	f, err := openat2(int(parent.Fd()), base, how)
	if errors.Is(err, fs.ErrExist) {
		old, err := openat2(int(parent.Fd()), base, unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH})
		if err != nil {
			return err
		}
		defer old.Close()
		stat, err := statOf(old)
		if err != nil {
			return err
		}
		if stat.Mode&unix.S_IFMT == unix.S_IFREG {
			if err := u.overwrite(old, h, contents); !errors.Is(err, unix.ETXTBSY) { // a program that runs is replaced
				return err
			}
		}
		if err := remove(parent, base); err != nil {
			return err
		}
		if f, err = openat2(int(parent.Fd()), base, how); err != nil {
			return err
		}
		return u.fill(f, h, contents)
	}
	if err != nil {
		return err
	}
	return u.fill(f, h, contents)
}

func (u *unpacker) overwrite(old *os.File, h *tar.Header, contents io.Reader) error {
	f, err := reopen(old, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	return u.fill(f, h, contents)
}

// fill writes a file's contents, and all else that it has, and closes it.
func (u *unpacker) fill(f *os.File, h *tar.Header, contents io.Reader) error {
	_, err := io.Copy(f, contents)
	if err == nil {
		err = u.attributes(f, h)
	}
	return errors.Join(err, f.Close())
}

// attributes come when the contents are there, as writing clears set-user-ID bits and sets times; and the mode after the
// owner, as chown(2) clears them too.
func (u *unpacker) attributes(f *os.File, h *tar.Header) error {
	fd := int(f.Fd())
	if uid, gid, ok := u.owner(h); ok {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return os.NewSyscallError("fchown", err)
		}
	}
	if err := unix.Fchmod(fd, u.mode(h)); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if u.Archive {
		if err := setXattrs(f, h); err != nil {
			return err
		}
	}
	return setTimes(unix.AT_FDCWD, self(f), h.ModTime, 0)
}

func (u *unpacker) mode(h *tar.Header) uint32 {
	mode := uint32(h.Mode) & 0o7777
	if !u.Archive && u.target.place.Root == nil {
		mode &= 0o777 // it is another user's now, and shall not lend his rights
	}
	return mode
}

func (u *unpacker) owner(h *tar.Header) (uid, gid int, ok bool) {
	switch {
	case u.Archive:
		return h.Uid, h.Gid, true
	case u.Owner != nil:
		return u.Owner[0], u.Owner[1], true
	}
	return 0, 0, false
}

func (u *unpacker) chown(parent *os.File, base string, h *tar.Header) error {
	uid, gid, ok := u.owner(h)
	if !ok {
		return nil
	}
	return os.NewSyscallError("fchownat", unix.Fchownat(int(parent.Fd()), base, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

func setTimes(dir int, name string, at time.Time, flags int) error {
	spec := unix.NsecToTimespec(at.UnixNano())
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(dir, name, []unix.Timespec{spec, spec}, flags))
}

// remove makes room for a name. A folder stays.
func remove(parent *os.File, base string) error {
	err := unix.Unlinkat(int(parent.Fd()), base, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("unlinkat", err)
}

func (u *unpacker) replace(parent *os.File, base string, h *tar.Header, create func(dir int) error) error {
	if err := remove(parent, base); err != nil {
		return err
	}
	if err := create(int(parent.Fd())); err != nil {
		return err
	}
	if err := u.chown(parent, base, h); err != nil {
		return err
	}
	return setTimes(int(parent.Fd()), base, h.ModTime, unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) node(parent *os.File, base string, h *tar.Header, kind uint32) error {
	return u.replace(parent, base, h, func(dir int) error {
		mode := kind | uint32(h.Mode)&0o777
		err := unix.Mknodat(dir, base, mode, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		return os.NewSyscallError("mknodat", err)
	})
}

// link gives a file that was unpacked one more name.
func (u *unpacker) link(parent *os.File, base string, h *tar.Header) error {
	first, err := cleanName(h.Linkname)
	if err != nil {
		return err
	}
	folder, err := u.resolve(path.Dir(first), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := remove(parent, base); err != nil {
		return err
	}
	return os.NewSyscallError("linkat", unix.Linkat(int(folder.Fd()), path.Base(first), int(parent.Fd()), base, 0))
}

// finish gives folders what they have, those that lie deeper first: a folder's time changes when something is made in it.
func (u *unpacker) finish() error {
	for _, h := range slices.Backward(u.folders) {
		f, err := u.resolve(h.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		err = u.attributes(f, h)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}
