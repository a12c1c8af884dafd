package rootfs

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// mount is one of the specification's mounts, checked.
type mount struct {
	options
	at     string // in the container, without the slash before it
	fstype string
	source string
	// The mapping of an idmapped mount.
	uids, gids []specs.LinuxIDMapping

	reg  child.Reg  // the mount, open
	stat child.Stat // of a bind mount's source
}

// virtual are file systems whose superblock is shared with others, or that are writable always: for these "ro" is the
// mount's. Any other is told of it, since its device may be read-only too.
var virtual = []string{"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay"}

func (b *Build) mount(p *child.Program, m *mount) {
	kind := m.fstype
	if m.bind {
		kind = m.source
	}
	p.Phase("mount %s on /%s", kind, m.at)
	switch {
	case m.remount:
		b.remount(p, m)
	case m.bind:
		b.mountBind(p, m)
	case m.fstype == "tmpfs":
		b.mountTmpfs(p, m)
	case m.fstype == "cgroup" || m.fstype == "cgroup2":
		b.mountCgroup(p, m)
	case m.fstype == "overlay":
		b.mountLayers(p, m)
	default:
		b.mountNew(p, m)
	}
}

// resolve says how to walk to a mount's place. For proc and sysfs no link is taken: a container that shares a folder
// with another could lead the mount elsewhere, and have what is written to /proc/self/attr go into a file of its own
// (CVE-2023-27561). Nor is one for /dev, in which device nodes will be made (CVE-2026-41579).
func (m *mount) resolve() uint64 {
	if m.fstype == "proc" || m.fstype == "sysfs" || m.at == "proc" || m.at == "sys" || m.at == "dev" {
		return noLinks
	}
	return inRoot
}

// place is where the mount goes, open.
func (b *Build) place(p *child.Program, m *mount, l lookup) child.Reg {
	l.path, l.resolve = m.at, m.resolve()
	at := b.find(p, l)
	b.guard(p, m, at)
	return at
}

// guard refuses a place that an image's links have led into procfs, where checkProc would have refused its name.
func (b *Build) guard(p *child.Program, m *mount, at child.Reg) {
	if m.at == "proc" || slices.Contains(allowedInProc, m.at) {
		return
	}
	fine := p.Label()
	magic := p.Fstatfs(at, "/"+m.at, "links may lead into procfs, where nothing may be mounted")
	p.Unless(magic, ^uint64(0), unix.PROC_SUPER_MAGIC, fine)
	p.Fail("/"+m.at+" lies in procfs", unix.EPERM, "it could tell the container, and its runtime, anything there")
	p.Bind(fine)
}

// attach puts a mount at its place, for good.
func (b *Build) attach(p *child.Program, m *mount, at child.Reg) {
	b.propagate(p, m)
	p.MoveMount(m.reg, at, "/"+m.at, "")
	p.Close(at)
	if !b.keeps(m) {
		p.Close(m.reg)
	}
}

// keeps tells if a mount's descriptor is used again.
func (b *Build) keeps(m *mount) bool {
	return m == b.devpts || slices.Contains(b.readonly, m) || b.overridden(m)
}

func (b *Build) propagate(p *child.Program, m *mount) {
	for _, x := range m.propagation {
		flags := uint64(unix.AT_EMPTY_PATH)
		if x.recursive {
			flags |= unix.AT_RECURSIVE
		}
		p.MountSetattr(child.From("mount", m.reg), "", flags, unix.MountAttr{Propagation: x.flag}, "")
	}
}

// setAttributes sets attributes of a mount, and takes none away: what it has, and may be locked, stays.
func setAttributes(p *child.Program, mount child.Reg, flags, attributes uint64, why string) {
	p.MountSetattr(child.From("mount", mount), "", unix.AT_EMPTY_PATH|flags, unix.MountAttr{Attr_set: attributes}, why)
}

// setAll changes the attributes of the mount and of all below it, as options with an r before ask for.
func (b *Build) setAll(p *child.Program, m *mount) {
	if m.all.mask != 0 {
		p.MountSetattr(child.From("mount", m.reg), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, m.all.attr(), "")
	}
}

// mountNew mounts a file system that is made for it, or a device.
func (b *Build) mountNew(p *child.Program, m *mount) {
	at := b.place(p, m, lookup{})
	m.reg = p.Reg()
	if m.fstype == "sysfs" {
		instead, done := p.Label(), p.Label()
		b.create(p, m, refused{unix.EPERM, instead})
		b.fsmount(p, m).Else(unix.EPERM, instead)
		p.Jump(done)
		p.Bind(instead)
		b.bindSys(p, m)
		p.Bind(done)
	} else {
		b.create(p, m)
		b.fsmount(p, m)
	}
	if m.fstype == "mqueue" {
		b.labelQueues(p, m.reg)
	}
	b.setAll(p, m)
	b.attach(p, m, at)
}

// create makes the file system. Its register is the mount's, until there is one. If the kernel refuses, it goes on
// where the last argument says.
func (b *Build) create(p *child.Program, m *mount, or ...refused) {
	data := m.data
	gid := slices.IndexFunc(data, func(d datum) bool { return m.fstype == "devpts" && d.key == "gid" })
	if gid < 0 || b.hasGroup(data[gid].value) == yes {
		b.createWith(p, m, data, or...)
		return
	}
	// The group that terminals are given has no number in the user namespace, and would be refused.
	without := slices.Delete(slices.Clone(data), gid, gid+1)
	if b.hasGroup(data[gid].value) == no {
		b.createWith(p, m, without, or...)
		return
	}
	retry, done := p.Label(), p.Label()
	b.createWith(p, m, data, append(or, refused{unix.EINVAL, retry})...)
	p.Jump(done)
	p.Bind(retry)
	p.Close(m.reg)
	b.createWith(p, m, without, or...)
	p.Bind(done)
}

func (b *Build) createWith(p *child.Program, m *mount, data []datum, or ...refused) {
	open, _ := p.Fsopen(m.fstype, "")
	calls := []child.Call{open.Into(m.reg)}
	if m.source != "" {
		p.Fsconfig(m.reg, "source", m.source, false)
	}
	for _, d := range data {
		calls = append(calls, p.Fsconfig(m.reg, d.key, d.value, d.flag))
	}
	if !slices.Contains(virtual, m.fstype) && m.one.value&unix.MOUNT_ATTR_RDONLY != 0 {
		p.Fsconfig(m.reg, "ro", "", true)
	}
	b.label(p, m.reg, m.fstype)
	calls = append(calls, p.FsconfigCreate(m.reg, ""))
	for _, r := range or {
		for _, call := range calls {
			call.Else(r.errno, r.instead)
		}
	}
}

// refused says where to go on if the kernel does not make a file system, and says so with errno.
type refused struct {
	errno   unix.Errno
	instead child.Label
}

// fsmount makes a mount of what was created.
func (b *Build) fsmount(p *child.Program, m *mount) child.Call {
	value := m.one.value
	if m.late() {
		value &^= unix.MOUNT_ATTR_RDONLY
		b.readonly = append(b.readonly, m)
	}
	context := p.Reg()
	call, _ := p.Fsmount(m.reg, value, "")
	call.Into(context)
	p.Close(m.reg)
	m.reg = context
	return call
}

// late tells if a mount becomes read-only when all is done: what is mounted in a tmpfs needs a place there first.
func (m *mount) late() bool {
	return m.one.value&unix.MOUNT_ATTR_RDONLY != 0 && (m.fstype == "tmpfs" || m.at == "dev") && !m.bind
}

// remount changes a mount that is there: its attributes, and with options of its own, the file system's.
func (b *Build) remount(p *child.Program, m *mount) {
	m.reg = b.find(p, lookup{path: m.at, resolve: m.resolve()})
	if m.one.mask != 0 {
		p.MountSetattr(child.From("mount", m.reg), "", unix.AT_EMPTY_PATH, m.one.attr(), "")
	}
	b.setAll(p, m)
	b.propagate(p, m)
	if len(m.data) > 0 && !m.bind {
		_, fs := p.Fspick(m.reg, "/"+m.at, "")
		for _, d := range m.data {
			p.Fsconfig(fs, d.key, d.value, d.flag)
		}
		p.FsconfigReconfigure(fs, "")
		p.Close(fs)
	}
	p.Close(m.reg)
}

// makesDevices tells if /dev is the container's own: one that was bound from the host is left as it is.
func (b *Build) makesDevices() bool {
	return !slices.ContainsFunc(b.mounts, func(m mount) bool { return m.at == "dev" && m.bind })
}

// below tells if a path is another one, or lies below it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/") || path.Clean("/"+dir) == "/"
}
