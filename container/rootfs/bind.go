package rootfs

import (
	"os"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// takeSources clones what is bound from the host, before anything else: while the mounts are as the host has them. A
// clone of a shared mount is in its peer group, and only so can a volume with "rshared" pass mounts back to the host.
func (b *Build) takeSources(p *child.Program) {
	for i := range b.mounts {
		m := &b.mounts[i]
		if !m.bind || m.remount {
			continue
		}
		p.Phase("take %s for /%s", m.source, m.at)
		b.takeSource(p, m)
		m.stat = p.Fstat(m.reg, m.source, "a folder, or a file?")
		if m.at == "proc" {
			p.ExpectFS(m.reg, m.source, unix.PROC_SUPER_MAGIC, unix.EPERM, "nothing but a procfs is mounted on /proc")
			p.Expect(m.stat.Inode, ^uint64(0), procRoot, unix.EPERM, "and all of it: PROC_ROOT_INO")
		}
		if b.flag != unix.MS_SHARED {
			p.MountSetattr(child.From("mount", m.reg),
				"", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Propagation: b.inherited()},
				"as all that comes from the host")
		}
	}
}

// procRoot is the inode number of a procfs's topmost folder, PROC_ROOT_INO.
const procRoot = 1

func (b *Build) takeSource(p *child.Program, m *mount) {
	flags := uint64(unix.OPEN_TREE_CLONE)
	if m.recursive {
		flags |= unix.AT_RECURSIVE
	}
	switch {
	case m.idmap:
		m.reg = b.takeIDMapped(p, m, flags)
	case b.spec.UserNS && !b.spec.NoClone:
		m.reg = p.Beforehand("open_tree", m.source, "by the parent: the user namespace's root may not reach it",
			func() (*os.File, error) { return openTree(m.source, flags) })
	default:
		_, m.reg = p.OpenTree(child.AtCwd, m.source, flags, "a mount that is nowhere yet")
	}
}

func openTree(path string, flags uint64) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, uint(flags)|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mountBind asks for the attributes that the options name, and for no others: those that a mount has, and that are
// locked in a user namespace, stay.
func (b *Build) mountBind(p *child.Program, m *mount) {
	older := p.Label()
	again, copied := p.OpenTree(child.From("dir", m.reg), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE,
		"a younger copy: mountinfo lists mounts by age, and this one comes now (since Linux 6.15)")
	again.Else(unix.EINVAL, older)
	p.Call("dup3", unix.SYS_DUP3, "", "in the place of the older one, which goes", child.From("old", copied), child.From("new", m.reg),
		child.Flags("flags", unix.O_CLOEXEC, "O_CLOEXEC"))
	p.Close(copied)
	p.Bind(older)
	at := b.place(p, m, lookup{like: &m.stat})
	if m.one.mask != 0 {
		p.MountSetattr(child.From("mount", m.reg), "", unix.AT_EMPTY_PATH, m.one.attr(), "")
	}
	b.setAll(p, m)
	b.attach(p, m, at)
}

// bindSys shows the host's /sys, read-only, to a container that may not mount a sysfs: one in a user namespace that
// has no network namespace of its own.
func (b *Build) bindSys(p *child.Program, m *mount) {
	call, _ := p.OpenTree(child.AtCwd, "/sys", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE,
		"the host's, as the network is the host's")
	call.Into(m.reg)
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	setAttributes(p, m.reg, unix.AT_RECURSIVE, attributes, "")
}
