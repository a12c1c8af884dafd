package rootfs

import (
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// mountTmpfs mounts a new tmpfs. Where the options don't give it a mode it gets that of the folder that it covers, if
// that was there: a /tmp stays everybody's.
func (b *Build) mountTmpfs(p *child.Program, m *mount) {
	mode := p.Reg()
	_, given := m.get("mode")
	l := lookup{
		existing: func(at child.Reg) { p.LoadInto(mode, p.Fstat(at, "/"+m.at, "its mode").Mode, 0o7777) },
		made:     func() { p.Set(mode, 0o1777) },
	}
	if given {
		l = lookup{}
	}
	at := b.place(p, m, l)
	m.reg = p.Reg()
	b.create(p, m)
	b.fsmount(p, m)
	if !given {
		p.Fchmodat(child.From("dir", m.reg), ".", mode, "as the folder that it covers, or everybody's")
	}
	if m.copyUp {
		b.copyUp(p, m, at)
	}
	b.setAll(p, m)
	b.attach(p, m, at)
}

// twoEntries is the size of what getdents64(2) gives of an empty folder: "." and "..", 24 bytes each.
const twoEntries = 48

// copyUp shows in the tmpfs what is in the folder that it covers. A copy file by file would be a program's work, and
// the child is none; so the tmpfs becomes the upper layer of an overlay whose lower one is the folder. What the
// container changes is copied by the kernel, when it is changed. An empty folder, the usual case, needs none of it.
//
// All layers are named by paths that are relative to the tmpfs, where nobody else can reach: kernels before 6.13 take
// no descriptors for them. For this the tmpfs has to be somewhere, for a moment.
func (b *Build) copyUp(p *child.Program, m *mount, at child.Reg) {
	full, plain := p.Label(), p.Label()
	folder := p.Reg()
	open(p, at, ".", unix.O_RDONLY|unix.O_DIRECTORY, noLinks, folder, "is anything in it to be copied up?")
	_, size := p.Getdents(folder, "/"+m.at, "")
	p.Close(folder)
	p.Unless(p.Result("size", size), ^uint64(0), twoEntries, full)
	p.Jump(plain)
	p.Bind(full)

	tmpfs := child.From("dir", m.reg)
	stat := p.Fstat(at, "/"+m.at, "its mode and owner are those of the upper layer")
	_, below := p.OpenTree(child.From("dir", at), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE, "what is there")
	for _, name := range []string{"lower", "upper", "work"} {
		p.Mkdirat(tmpfs, name, 0o755, "")
	}
	p.FchownatFrom(tmpfs, "upper", p.Load(stat.UID, ^uint64(0)), p.Load(stat.GID, ^uint64(0)), "")
	p.Fchmodat(tmpfs, "upper", p.Load(stat.Mode, 0o7777), "")
	lower := p.Reg()
	p.MoveMount(m.reg, at, "/"+m.at, "for a moment: an overlay's layers have to be somewhere")
	open(p, m.reg, "lower", unix.O_PATH|unix.O_DIRECTORY, noLinks, lower, "")
	p.MoveMount(below, lower, "lower", "")
	p.Close(lower)
	p.Close(below)
	p.Fchdir(m.reg, "the tmpfs", "the layers' names are relative to it")
	_, fs := p.Fsopen("overlay", "a copy that is made when it is needed")
	p.Fsconfig(fs, "source", m.source, false)
	for _, name := range []string{"lower", "upper", "work"} {
		p.Fsconfig(fs, name+"dir", name, false)
	}
	if b.spec.UserNS {
		p.Fsconfig(fs, "userxattr", "", true)
	}
	b.label(p, fs, "overlay")
	p.FsconfigCreate(fs, "")
	p.Umount(".", unix.MNT_DETACH, "the overlay has its own view of the layers")
	p.Chdir("/", "")
	p.Close(m.reg)
	value := m.one.value
	if m.late() {
		value &^= unix.MOUNT_ATTR_RDONLY
	}
	call, _ := p.Fsmount(fs, value, "")
	call.Into(m.reg)
	p.Close(fs)
	p.Bind(plain)
}
