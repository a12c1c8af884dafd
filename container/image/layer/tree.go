package layer

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// beneath keeps a walk from a folder below that folder: no "..", absolute link, link of /proc or mount leads out.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// maxOpen is the number of folders that are kept open: an archive goes through its folders one after the other.
const maxOpen = 32

// A tree is the folder that a layer is unpacked into. It was empty, and nobody else changes it, so that each folder in
// it is one that the tree made: what is not in folders is none.
type tree struct {
	root    int                // descriptor
	folders map[string]*folder // by path
	open    *list.List         // of *folder, the one that was used last first
	implied int                // folders without an entry, the root aside
	kept    int                // bytes of folders' names and attributes
	perm    uint32             // what mkdir takes away from each mode
	wait    func()             // until no file is being made, and so no folder is pinned for one
}

// A folder waits for its owner, mode and time until all its entries are made: they change its time, and its mode may
// forbid them.
type folder struct {
	Entry
	made      uint32        // its mode so far
	whiteouts bool          // some are in it
	fd        int           // -1 unless it is open
	place     *list.Element // in tree.open
	pins      atomic.Int32  // files that are being made in it, and whoever else needs its descriptor
}

func newTree(root int, umask uint32) *tree {
	t := &tree{root: root, folders: map[string]*folder{}, open: list.New(), perm: umask}
	t.folders["."] = &folder{Entry: Entry{Path: ".", Kind: Dir, Mode: ImpliedMode, Implied: true}, fd: -1}
	return t
}

// ImpliedMode is that of a folder of which nobody says what it looks like, as with docker and containerd.
const ImpliedMode = 0o755

func (t *tree) close() {
	for e := t.open.Front(); e != nil; e = e.Next() {
		unix.Close(e.Value.(*folder).fd)
	}
	t.open.Init()
}

// folder gives the folder at a clean path, and makes it and those above it where they are missing.
func (t *tree) folder(path string) (*folder, error) {
	if f := t.folders[path]; f != nil {
		return f, nil
	}
	above, name := split(path)
	parent, err := t.folder(above)
	if err != nil {
		return nil, err
	}
	return t.subfolder(parent, name, ImpliedMode, true)
}

// subfolder gives the folder of that name in parent, and makes it if there is none; with follow, the name may be that
// of a symbolic link to a folder.
func (t *tree) subfolder(parent *folder, name string, mode uint32, follow bool) (*folder, error) {
	path := join(parent.Path, name) // that which was asked for, but without symbolic links
	if f := t.folders[path]; f != nil {
		return f, nil
	}
	dir, err := t.descriptor(parent)
	if err != nil {
		return nil, err
	}
	f := &folder{Entry: Entry{Path: path, Kind: Dir, Mode: mode, Implied: true}, made: mode&0o777 | 0o700, fd: -1}
	err = unix.Mkdirat(dir, name, f.made)
	if errors.Is(err, unix.EEXIST) {
		switch kind, e := kindAt(dir, name); {
		case e != nil:
			return nil, e
		case kind == Symlink && follow:
			return t.follow(path)
		case kind != Whiteout && follow:
			return nil, fmt.Errorf("%s is no folder, and has entries below it: %w", path, ErrDuplicate)
		case kind != Whiteout:
			return nil, ErrDuplicate
		}
		// The whiteout hides what was there before this layer, so that the folder begins anew.
		f.Opaque = true
		if err = unix.Unlinkat(dir, name, 0); err == nil {
			err = unix.Mkdirat(dir, name, f.made)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	f.made &^= t.perm
	t.folders[path] = f
	t.implied++
	t.kept += len(path)
	return f, nil
}

// describe says what a folder looks like that has an entry.
func (t *tree) describe(f *folder, e *Entry) {
	if f.Implied && f.Path != "." {
		t.implied--
	}
	t.kept += size(e.Xattrs) - size(f.Xattrs)
	f.Mode, f.UID, f.GID, f.ModTime, f.Xattrs, f.Implied = e.Mode, e.UID, e.GID, e.ModTime, e.Xattrs, false
}

func size(attributes map[string]string) (n int) {
	for name, value := range attributes {
		n += len(name) + len(value)
	}
	return n
}

// follow gives the folder that a symbolic link in the tree leads to, if that is in the tree.
func (t *tree) follow(path string) (*folder, error) {
	t.wait() // what it leads to may be made just now
	fd, err := t.openat2(path, unix.O_PATH|unix.O_DIRECTORY, beneath)
	switch {
	case errors.Is(err, unix.EXDEV):
		return nil, fmt.Errorf("the symbolic link %s %w", path, ErrEscape)
	case err != nil:
		return nil, fmt.Errorf("follow the symbolic link %s: %w", path, err)
	}
	defer unix.Close(fd)
	root, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(t.root))
	if err != nil {
		return nil, err
	}
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, err
	}
	below, ok := strings.CutPrefix(target, root)
	if below = strings.TrimPrefix(below, "/"); below == "" {
		below = "."
	}
	f := t.folders[below]
	if !ok || f == nil {
		return nil, fmt.Errorf("the symbolic link %s %w", path, ErrEscape)
	}
	return f, nil
}

// descriptor opens a folder. The descriptor is good until maxOpen others have been asked for.
func (t *tree) descriptor(f *folder) (int, error) {
	if f.fd >= 0 {
		t.open.MoveToFront(f.place)
		return f.fd, nil
	}
	fd, err := t.openat2(f.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return -1, fmt.Errorf("open the folder %s: %w", f.Path, err)
	}
	if t.open.Len() >= maxOpen {
		t.closeOne()
	}
	f.fd, f.place = fd, t.open.PushFront(f)
	return fd, nil
}

// closeOne closes the folder that was not used for longest, of those that nobody makes files in.
func (t *tree) closeOne() {
	e := t.unused()
	if e == nil {
		t.wait()
		e = t.unused()
	}
	f := t.open.Remove(e).(*folder)
	unix.Close(f.fd)
	f.fd, f.place = -1, nil
}

func (t *tree) unused() *list.Element {
	e := t.open.Back()
	for e != nil && e.Value.(*folder).pins.Load() > 0 {
		e = e.Prev()
	}
	return e
}

// openat2 opens what is at a path from the root. It is tried again where the kernel could not be sure because something
// was renamed or mounted meanwhile, anywhere on the machine.
func (t *tree) openat2(path string, flags, resolve uint64) (fd int, err error) {
	for range 1000 {
		fd, err = unix.Openat2(t.root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fd, err
}

// kindAt tells what is at a name: a Dir, a Symlink, a Whiteout, or a File that stands for all else.
func kindAt(dir int, name string) (Kind, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return Dir, nil
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return Symlink, nil
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return Whiteout, nil
	}
	return File, nil
}
