package rootfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// The two ways to open something of the container's. In both the kernel walks the path and keeps it below the root,
// with no moment between a check and a use in which the container could put a link in the way.
const (
	// inRoot takes symbolic links as the container would: "/" is its root, and ".." of that is the same.
	inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	// noLinks fails with ELOOP at one.
	noLinks = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
)

// lookup is a place in the container that is to be mounted on.
type lookup struct {
	path    string // no slash before it
	resolve uint64
	// like is what will be mounted: if it is no folder, a file is made for it. Nil is a folder.
	like *child.Stat
	// existing and made add to the program where the place was there, and where it had to be made.
	existing func(at child.Reg)
	made     func()
}

// open opens a path below dir. A path with ".." in it (a link's, say) may have to be walked again if something was
// moved meanwhile: then the kernel can't tell if it left the root, and says EAGAIN.
func open(p *child.Program, dir child.Reg, path string, flags, resolve uint64, into child.Reg, why string) child.Call {
	again := p.Label()
	p.Bind(again)
	call, _ := p.Openat2(child.From("dir", dir), path, unix.OpenHow{Flags: flags, Resolve: resolve}, why)
	return call.Into(into).Else(unix.EAGAIN, again)
}

// find opens the place, and makes what is missing of it: it looks for the longest part that is there, and goes on from
// that part's descriptor, name by name.
func (b *Build) find(p *child.Program, l lookup) child.Reg {
	at := p.Reg()
	names := strings.Split(l.path, "/")
	n := len(names)
	folder := uint64(unix.O_PATH | unix.O_DIRECTORY)
	last := folder
	if l.like != nil {
		last = unix.O_PATH
	}
	missing, done := p.Label(), p.Label()
	open(p, b.root, l.path, last, l.resolve, at,
		"in the container's root, not by its name on the host").Else(unix.ENOENT, missing)
	if l.like != nil {
		b.sameKind(p, l, at)
	}
	if l.existing != nil {
		l.existing(at)
	}
	p.Jump(done)
	p.Bind(missing)

	dirs := make([]child.Reg, n) // of the first i names
	enter := make([]child.Label, n)
	dirs[0] = b.root
	for i := range n {
		enter[i] = p.Label()
		if i > 0 {
			dirs[i] = p.Reg()
		}
	}
	for i := n - 1; i > 0; i-- {
		up := p.Label()
		open(p, b.root, strings.Join(names[:i], "/"), folder, l.resolve, dirs[i],
			"it is not there: what of it is?").Else(unix.ENOENT, up)
		p.Jump(enter[i])
		p.Bind(up)
	}
	for i, name := range names {
		p.Bind(enter[i])
		dir := child.From("dir", dirs[i])
		if i < n-1 {
			p.Mkdirat(dir, name, 0o755, "")
			open(p, dirs[i], name, folder, noLinks, dirs[i+1], "what was made, and no link that came in between")
		} else {
			b.makeLast(p, l, dirs[i], name, last, at)
		}
		if i > 0 {
			p.Close(dirs[i])
		}
	}
	if l.made != nil {
		l.made()
	}
	p.Bind(done)
	return at
}

// sameKind fails where a folder is to be mounted on a file, or a file on a folder: of which the kernel says no more
// than EINVAL.
func (b *Build) sameKind(p *child.Program, l lookup, at child.Reg) {
	file, same := p.Label(), p.Label()
	place := p.Fstat(at, "/"+l.path, "")
	p.Unless(l.like.Mode, unix.S_IFMT, unix.S_IFDIR, file)
	p.Expect(place.Mode, unix.S_IFMT, unix.S_IFDIR, unix.ENOTDIR, "a folder on a folder")
	p.Jump(same)
	p.Bind(file)
	folder := p.Label()
	p.Unless(place.Mode, unix.S_IFMT, unix.S_IFDIR, folder)
	p.Fail("/"+l.path+" is a folder", unix.EISDIR, "a file on a file")
	p.Bind(folder)
	p.Bind(same)
}

// makeLast makes the place itself: a folder, or an empty file if that is what will be mounted.
func (b *Build) makeLast(p *child.Program, l lookup, dir child.Reg, name string, flags uint64, at child.Reg) {
	if l.like == nil {
		p.Mkdirat(child.From("dir", dir), name, 0o755, "")
		open(p, dir, name, flags, noLinks, at, "what was made, and no link that came in between")
		return
	}
	file, opened, dangling := p.Label(), p.Label(), p.Label()
	made := p.Label()
	p.Unless(l.like.Mode, unix.S_IFMT, unix.S_IFDIR, file)
	p.Mkdirat(child.From("dir", dir), name, 0o755, "a folder, as what is mounted on it")
	p.Jump(made)
	p.Bind(file)
	p.Mknodat(child.From("dir", dir), name, unix.S_IFREG|0o644, 0,
		"an empty file, as what is mounted on it is one").Accept(unix.EEXIST)
	p.Bind(made)
	open(p, dir, name, flags, noLinks, at, "what was made, and no link that came in between").Else(unix.ELOOP, dangling)
	p.Jump(opened)
	// /etc/resolv.conf of many an image is a link to a file that a service will make. A file can be made at a link's
	// end by the kernel, in the root still.
	p.Bind(dangling)
	call, _ := p.Openat2(child.From("dir", b.root), l.path, unix.OpenHow{
		Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_NOCTTY | unix.O_NONBLOCK, Mode: 0o644, Resolve: l.resolve,
	}, "a link to a file that is not there")
	call.Into(at)
	p.Bind(opened)
}
