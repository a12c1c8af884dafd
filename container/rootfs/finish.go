package rootfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// Finish does what has to be done from inside: sysctls, while nothing is masked yet; then what is read-only, and what
// is masked; and the root itself at last. The umask is 022 afterwards.
func (b *Build) Finish(p *child.Program) {
	if b.flag != 0 {
		p.Phase("let mounts through as linux.rootfsPropagation says")
		flags := uint64(unix.AT_EMPTY_PATH)
		if b.propagation.recursive {
			flags |= unix.AT_RECURSIVE
		}
		p.MountSetattr(child.From("dir", b.root), "", flags, unix.MountAttr{Propagation: b.flag},
			"not before: pivot_root takes no shared root")
		for i := range b.mounts {
			if m := &b.mounts[i]; b.overridden(m) {
				b.propagate(p, m)
				p.Close(m.reg)
			}
		}
	}
	if len(b.sysctl) > 0 {
		b.writeSysctl(p)
	}
	for _, m := range b.readonly {
		p.Phase("make /%s read-only", m.at)
		p.MountSetattr(child.From("mount", m.reg),
			"", unix.AT_EMPTY_PATH, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY},
			"nothing will be made in it any more")
		if m != b.devpts {
			p.Close(m.reg)
		}
	}
	for _, path := range b.spec.ReadonlyAt {
		b.makeReadonly(p, path)
	}
	if len(b.spec.Masked) > 0 {
		b.mask(p)
	}
	if b.spec.Readonly {
		p.Phase("make / read-only")
		setAttributes(p, b.root, 0, unix.MOUNT_ATTR_RDONLY, "")
	}
	p.Phase("leave it")
	p.Umask(0o022, "as shells have it")
	if b.devpts != nil {
		p.Close(b.devpts.reg)
	}
	if b.makesDevices() {
		p.Close(b.dev)
	}
	p.Close(b.root)
}

// overridden tells if a mount says itself what is let through it, and the root says so for all mounts.
func (b *Build) overridden(m *mount) bool {
	both := b.propagation.recursive && len(m.propagation) > 0
	return both && m != b.devpts && !slices.Contains(b.readonly, m) && !m.remount
}

// there opens a path of the container's, or goes on at missing.
func (b *Build) there(p *child.Program, path string, missing child.Label) child.Reg {
	at := p.Reg()
	open(p, b.root, strings.TrimLeft(path, "/"), unix.O_PATH, inRoot, at,
		"").Else(unix.ENOENT, missing).Else(unix.ENOTDIR, missing)
	return at
}

// makeReadonly binds a path on itself. Attributes that it has, such as nosuid, stay: in a user namespace they are
// locked.
func (b *Build) makeReadonly(p *child.Program, path string) {
	p.Phase("make %s read-only", path)
	missing := p.Label()
	at := b.there(p, path, missing)
	_, mount := p.OpenTree(child.From("dir", at), "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, "")
	setAttributes(p, mount, unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY, "")
	p.MoveMount(mount, at, path, "")
	p.Close(mount)
	p.Close(at)
	p.Bind(missing)
}

// mask hides paths: a file behind /dev/null, a folder behind an empty tmpfs. What is not there needs no mask.
//
// That it is /dev/null is asked of the open file, by its number. An image could have put there what it likes, such as
// a link to /proc/sys/kernel/core_pattern, which would then be bound, writable, where it should be hidden
// (CVE-2025-31133).
func (b *Build) mask(p *child.Program) {
	p.Phase("open /dev/null")
	null := p.Reg()
	open(p, b.root, "dev/null", unix.O_PATH|unix.O_NOFOLLOW, noLinks, null, "masked files look empty through it")
	p.ExpectDevice(null, "/dev/null", unix.Mkdev(1, 3), unix.ENODEV, "the real one?")
	for _, path := range b.spec.Masked {
		p.Phase("mask %s", path)
		missing, file, attach := p.Label(), p.Label(), p.Label()
		at := b.there(p, path, missing)
		mount := p.Reg()
		p.Unless(p.Fstat(at, path, "a folder, or a file?").Mode, unix.S_IFMT, unix.S_IFDIR, file)
		b.emptyTmpfs(p, mount, unix.MOUNT_ATTR_RDONLY, "a folder that is empty")
		p.Jump(attach)
		p.Bind(file)
		call, _ := p.OpenTree(child.From("null", null), "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH,
			"a file that is empty")
		call.Into(mount)
		p.Bind(attach)
		p.MoveMount(mount, at, path, "")
		p.Close(mount)
		p.Close(at)
		p.Bind(missing)
	}
	p.Phase("close /dev/null")
	p.Close(null)
}
