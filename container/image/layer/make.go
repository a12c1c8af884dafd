package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// place gives the descriptor of the folder that an entry goes into, and its name there. Symbolic links above it are
// followed as long as they stay in the layer, and the entry's path is then that without them.
func (u *unpacker) place(e *Entry) (parent *folder, dir int, name string, err error) {
	above, name := split(e.Path)
	if parent, err = u.tree.folder(above); err != nil {
		return nil, -1, "", err
	}
	if parent.Path != above {
		e.Path = join(parent.Path, name)
	}
	dir, err = u.tree.descriptor(parent)
	return parent, dir, name, err
}

// make calls do, which makes a name that must not be there. A whiteout of the name is: it hides what was there before
// this layer, as the new one does by itself, and so makes way.
func (u *unpacker) make(dir int, name string, do func() error) error {
	err := do()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	kind, err := kindAt(dir, name)
	if err != nil {
		return err
	}
	if kind != Whiteout {
		return ErrDuplicate
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil {
		return err
	}
	return do()
}

// dir makes a folder, or tells one that is there what it looks like.
func (u *unpacker) dir(e *Entry) error {
	var f *folder
	if e.Path == "." {
		f = u.tree.folders["."]
	} else {
		above, name := split(e.Path)
		parent, err := u.tree.folder(above)
		if err != nil {
			return err
		}
		if f, err = u.tree.subfolder(parent, name, e.Mode, false); err != nil {
			return err
		}
	}
	u.tree.describe(f, e)
	return nil
}

// file makes a file with what the archive has for it.
func (u *unpacker) file(e *Entry, sparse bool, raw string) error {
	if u.result.Bytes += e.Size; u.Limits.Bytes > 0 && (u.result.Bytes > u.Limits.Bytes || u.result.Bytes < 0) {
		return fmt.Errorf("with its %d bytes the layer has more than %d: %w", e.Size, u.Limits.Bytes, ErrTooLarge)
	}
	if u.Spend != nil {
		if err := u.Spend(e.Size); err != nil {
			return err
		}
	}
	parent, dir, name, err := u.place(e)
	if err != nil {
		return err
	}
	// A name that has a whiteout is there, and would be taken for one that the archive has twice.
	if e.Size <= smallFile && len(e.Xattrs) == 0 && !parent.whiteouts {
		job := writeJob{entry: *e, parent: parent, dir: dir, name: name, buffer: u.writers.buffer(e.Size), sparse: sparse, raw: raw}
		if err := u.read(job.buffer); err != nil {
			return err
		}
		u.writers.add(job)
		return u.record(parent, *e)
	}
	fd := -1
	made := e.Mode & 0o777
	err = u.make(dir, name, func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, made)
		return err
	})
	if err != nil {
		return err
	}
	err = u.write(fd, e.Size, sparse)
	if err == nil {
		err = u.own(fd, e, made&^u.umask)
	}
	if err := u.close(fd, dir, name, e, err); err != nil {
		return err
	}
	return u.record(parent, *e)
}

// own gives a new file, which has a mode so far, its owner, mode and attributes. The owner comes before the mode and
// the capabilities: a change of owner takes both away.
func (u *unpacker) own(fd int, e *Entry, mode uint32) error {
	uid, gid, err := u.owner(e)
	if err != nil {
		return err
	}
	if uid != u.uid || gid != u.gid {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return fmt.Errorf("give it to %d:%d: %w", uid, gid, err)
		}
	}
	if mode != e.Mode {
		if err := unix.Fchmod(fd, e.Mode); err != nil {
			return fmt.Errorf("set mode %04o: %w", e.Mode, err)
		}
	}
	return u.setXattrs(e, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) })
}

func (u *unpacker) owner(e *Entry) (uid, gid int, err error) {
	if u.Owner == nil {
		return int(e.UID), int(e.GID), nil
	}
	return u.Owner(e.UID, e.GID)
}

// hardLink gives an earlier file one more name.
func (u *unpacker) hardLink(e *Entry) error {
	target, err := cleanName(e.Link)
	if err != nil {
		return fmt.Errorf("hard link to %w", err)
	}
	if target == "." {
		return fmt.Errorf("hard link to the root of the layer: %w", ErrArchive)
	}
	from := &Entry{Path: target}
	fromFolder, fromDir, fromName, err := u.place(from)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", target, err)
	}
	e.Link = from.Path
	fromFolder.pins.Add(1) // while folders are made on the way to the new name
	defer fromFolder.pins.Add(-1)
	if err := u.writers.wait(); err != nil { // it may be made just now
		return err
	}
	parent, dir, name, err := u.place(e)
	if err != nil {
		return err
	}
	// Without AT_SYMLINK_FOLLOW a symbolic link is linked to, and not what it leads to.
	err = u.make(dir, name, func() error { return unix.Linkat(fromDir, fromName, dir, name, 0) })
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("hard link to %s, which the layer has no entry for before it: %w", target, ErrArchive)
	case err != nil:
		return fmt.Errorf("hard link to %s: %w", target, err)
	}
	return u.record(parent, *e)
}

// node makes what has no content: symbolic links, devices, pipes.
func (u *unpacker) node(e *Entry) error {
	device := e.Kind == Char || e.Kind == Block
	if device && u.Devices == RefuseDevices {
		return fmt.Errorf("device %d:%d: %w", e.Major, e.Minor, ErrDevice)
	}
	if device && u.Devices == SkipDevices {
		u.skip("%s: device %d:%d", e.Path, e.Major, e.Minor)
		return nil
	}
	parent, dir, name, err := u.place(e)
	if err != nil {
		return err
	}
	err = u.make(dir, name, func() error {
		switch e.Kind {
		case Symlink:
			return unix.Symlinkat(e.Link, dir, name)
		case Char:
			return unix.Mknodat(dir, name, unix.S_IFCHR|e.Mode, int(unix.Mkdev(e.Major, e.Minor)))
		case Block:
			return unix.Mknodat(dir, name, unix.S_IFBLK|e.Mode, int(unix.Mkdev(e.Major, e.Minor)))
		default:
			return unix.Mknodat(dir, name, unix.S_IFIFO|e.Mode, 0)
		}
	})
	if err != nil {
		return err
	}
	uid, gid, err := u.owner(e)
	if err != nil {
		return err
	}
	if uid != u.uid || gid != u.gid {
		if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("give it to %d:%d: %w", uid, gid, err)
		}
	}
	if e.Kind == Symlink {
		e.Mode = 0o777 // which is all that Linux has
	} else if err := unix.Fchmodat(dir, name, e.Mode, 0); err != nil { // the name is new and no symbolic link
		return fmt.Errorf("set mode %04o: %w", e.Mode, err)
	}
	for key := range e.Xattrs {
		u.skip("%s: attribute %s, of what is no file", e.Path, key)
	}
	e.Xattrs = nil
	if err := unix.UtimesNanoAt(dir, name, timespec(e.ModTime), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return u.record(parent, *e)
}

// whiteout makes a name be gone. What this layer itself has at that name stays: a whiteout is about the layers below.
func (u *unpacker) whiteout(path string) error {
	e := &Entry{Path: path, Kind: Whiteout}
	if err := u.writers.wait(); err != nil {
		return err
	}
	parent, dir, name, err := u.place(e)
	if err != nil {
		return err
	}
	// overlayfs.rst, "whiteouts and opaque directories". The kernel lets everybody make this one device.
	err = unix.Mknodat(dir, name, unix.S_IFCHR, int(unix.Mkdev(0, 0)))
	if errors.Is(err, unix.EEXIST) {
		if f := u.tree.folders[e.Path]; f != nil {
			f.Opaque = true
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("whiteout of %s: %w", path, err)
	}
	parent.whiteouts = true
	return u.record(parent, *e)
}

// opaque makes a folder hide what the layers below have in it.
func (u *unpacker) opaque(path string) error {
	f, err := u.tree.folder(path)
	if err != nil {
		return err
	}
	f.Opaque = true
	return nil
}
