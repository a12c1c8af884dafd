package child

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Unlinkat removes a file that is no folder. One that is not there is no error.
func (p *Program) Unlinkat(dir Arg, path, why string) Call {
	return p.Call("unlinkat", unix.SYS_UNLINKAT, path, why, named("dir", dir), hidden(p.Str("path", path)), hidden(Int("flags", 0))).
		Accept(unix.ENOENT)
}

// Fchownat gives a file to a user and a group. A symbolic link is not followed.
func (p *Program) Fchownat(dir Arg, path string, uid, gid uint32, why string) Call {
	return p.Call("fchownat", unix.SYS_FCHOWNAT, path, why, named("dir", dir), hidden(p.Str("path", path)),
		Int("uid", int(uid)), Int("gid", int(gid)), Flags("flags", unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"))
}

// FchownatFrom is Fchownat with the two numbers in registers.
func (p *Program) FchownatFrom(dir Arg, path string, uid, gid Reg, why string) Call {
	return p.Call("fchownat", unix.SYS_FCHOWNAT, path, why, named("dir", dir), hidden(p.Str("path", path)),
		From("uid", uid), From("gid", gid), Flags("flags", unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"))
}

// Fchmodat changes the permissions of a file to those in a register. A symbolic link would be followed: the path is
// to be one that can't be any.
func (p *Program) Fchmodat(dir Arg, path string, perm Reg, why string) Call {
	return p.Call("fchmodat", unix.SYS_FCHMODAT, path, why, named("dir", dir), hidden(p.Str("path", path)), From("mode", perm))
}

// Umask sets the mask of permissions that new files do not get.
func (p *Program) Umask(mask uint32, why string) Call {
	return p.Call("umask", unix.SYS_UMASK, "", why, mode("mask", mask))
}

// Access asks whether a file is there.
func (p *Program) Access(path, why string) Call {
	return p.Call("faccessat2", unix.SYS_FACCESSAT2, path, why, AtCwd, hidden(p.Str("path", path)),
		Flags("mode", unix.F_OK, "F_OK"),
		hidden(Int("flags", 0)))
}

// Chdir changes the working folder.
func (p *Program) Chdir(path, why string) Call {
	return p.Call("chdir", unix.SYS_CHDIR, path, why, hidden(p.Str("path", path)))
}

// Fchdir changes the working folder to the one that is open in fd.
func (p *Program) Fchdir(fd Reg, object, why string) Call {
	return p.Call("fchdir", unix.SYS_FCHDIR, object, why, From("fd", fd))
}

// Chroot changes the root folder, see chroot(2).
func (p *Program) Chroot(path, why string) Call {
	return p.Call("chroot", unix.SYS_CHROOT, path, why, hidden(p.Str("path", path)))
}

// PivotRoot makes one mount the root of all, and puts the old one elsewhere, see pivot_root(2).
func (p *Program) PivotRoot(root, old, why string) Call {
	return p.Call("pivot_root", unix.SYS_PIVOT_ROOT, root, why, hidden(p.Str("new_root", root)), p.Str("put_old", old))
}

// FsconfigFD gives a file system in the making a descriptor.
func (p *Program) FsconfigFD(fs Reg, key string, fd Reg) Call {
	return p.Call("fsconfig", unix.SYS_FSCONFIG, key, "", From("fs", fs), Flags("cmd", unix.FSCONFIG_SET_FD,
		"FSCONFIG_SET_FD"),
		hidden(p.Str("key", key)), hidden(Int("value", 0)), From("fd", fd))
}

// Fspick takes up the file system of the mount that is open in fd, to change its options.
func (p *Program) Fspick(fd Reg, object, why string) (Call, Reg) {
	r := p.Reg()
	return p.Call("fspick", unix.SYS_FSPICK, object, why, From("dir", fd), hidden(p.Str("path", "")),
		Flags("flags", unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC, "FSPICK_EMPTY_PATH|FSPICK_CLOEXEC")).Into(r), r
}

// FsconfigReconfigure gives the file system that Fspick has taken up its new options.
func (p *Program) FsconfigReconfigure(fs Reg, why string) Call {
	return p.Call("fsconfig", unix.SYS_FSCONFIG, "", why, From("fs", fs),
		Flags("cmd", unix.FSCONFIG_CMD_RECONFIGURE,
			"FSCONFIG_CMD_RECONFIGURE"), hidden(Int("key", 0)), hidden(Int("value", 0)), hidden(Int("aux", 0)))
}

// Getdents reads entries of the folder that is open in fd into a buffer of its own. The register holds their size.
func (p *Program) Getdents(fd Reg, object, why string) (Call, Reg) {
	r := p.Reg()
	const most = 4096
	return p.Call("getdents64", unix.SYS_GETDENTS64, object, why, From("fd", fd), filled("buf", p.room(most), "entries"),
		hidden(Int("size", most))).Into(r), r
}

// UnlockPty lets the other end of a new terminal be opened: TIOCSPTLCK, see ioctl_tty(2).
func (p *Program) UnlockPty(master Reg, why string) Call {
	return p.Call("ioctl", unix.SYS_IOCTL, "TIOCSPTLCK", why, From("fd", master), hidden(Int("request", unix.TIOCSPTLCK)),
		filled("lock", p.room(4), 0))
}

// PtyPeer opens a terminal's other end by its descriptor, and by no path: TIOCGPTPEER.
func (p *Program) PtyPeer(master Reg, why string) (Call, Reg) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	r := p.Reg()
	return p.Call("ioctl", unix.SYS_IOCTL, "TIOCGPTPEER", why, From("fd", master), hidden(Int("request", unix.TIOCGPTPEER)),
		bitsArg("flags", flags, &openFlags)).Into(r), r
}

// Winsize sets a terminal's size.
func (p *Program) Winsize(fd Reg, rows, columns uint16, why string) Call {
	return p.Call("ioctl", unix.SYS_IOCTL, "TIOCSWINSZ", why, From("fd", fd), hidden(Int("request", unix.TIOCSWINSZ)),
		structure(p, "size", &unix.Winsize{Row: rows, Col: columns}, fmt.Sprintf("%dx%d", columns, rows)))
}
