package layer

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// finish gives the folders their owners, modes and times, those inside others first: a mode may shut the way to them,
// and a change inside is a change of time.
func (u *unpacker) finish() error {
	if err := u.checkCount(); err != nil {
		return err
	}
	u.result.Entries += u.tree.implied
	paths := make([]string, 0, len(u.tree.folders))
	for path := range u.tree.folders {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return -compareFolders(a, b) })
	for _, path := range paths {
		f := u.tree.folders[path]
		u.disk.Add(blockSize)
		if path != "." {
			above, _ := split(path)
			if parent := u.tree.folders[above]; parent.Implied && f.ModTime.After(parent.ModTime) {
				parent.ModTime = f.ModTime
			}
		}
		if f.Implied && f.Path != "." {
			u.result.Implied = true
			if u.Parents != nil {
				if below, ok := u.Parents(path); ok {
					f.Mode, f.UID, f.GID = below.Mode, below.UID, below.GID
					f.ModTime, f.Xattrs = below.ModTime, below.Xattrs
				}
			}
		}
		if err := u.seal(f); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		if u.Record != nil {
			if err := u.Record(f.Entry); err != nil {
				return err
			}
		}
	}
	u.result.Disk = u.disk.Load()
	u.result.Root = u.tree.folders["."].Entry
	return nil
}

// compareFolders orders a folder before those in it.
func compareFolders(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	case a < b:
		return -1
	}
	return 1
}

func (u *unpacker) seal(f *folder) error {
	fd, err := u.tree.openat2(f.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer unix.Close(fd)
	set := func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) }
	uid, gid, err := u.owner(&f.Entry)
	if err != nil {
		return err
	}
	if uid != u.uid || gid != u.gid || f.Path == "." {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return fmt.Errorf("give it to %d:%d: %w", uid, gid, err)
		}
	}
	if err := u.setXattrs(&f.Entry, set); err != nil {
		return err
	}
	if f.Opaque {
		if err := set(u.overlay("opaque"), []byte("y")); err != nil {
			return fmt.Errorf("make it opaque: %w", err)
		}
	}
	if f.whiteouts {
		// overlayfs merges the lists of folders that it knows to be in several layers, and leaves whiteouts out of the
		// result. Of a folder that is in one layer alone it shows the list as it stands, whiteouts included, unless
		// the folder seems to be copied up from somewhere, which an origin tells; an empty one is "unknown".
		if err := set(u.overlay("origin"), nil); err != nil {
			return fmt.Errorf("mark it to have whiteouts: %w", err)
		}
	}
	if f.made != f.Mode || f.Path == "." {
		if err := unix.Fchmod(fd, f.Mode); err != nil {
			return fmt.Errorf("set mode %04o: %w", f.Mode, err)
		}
	}
	if err := unix.UtimesNanoAt(fd, ".", timespec(f.ModTime), 0); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return nil
}
