package rootfs

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// cgroupAttributes are those of every mount of a cgroup hierarchy: there is nothing in it that could be run or opened
// as a device.
const cgroupAttributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// mountCgroup shows the container its own group, as the topmost one where it has a cgroup namespace. Version 2 is one
// mount; of version 1 there is one for each hierarchy, in a tmpfs.
//
//	without a cgroup namespace   the own group's folder is bound: nothing of the host's shows, whatever the options say
//	with one                     the hierarchy is mounted, and its root is the own group
//	mounting is refused          (in a user namespace) the own group's folder is bound
//
// A container of a user's who is not root gets nothing that he could write to outside of his own group
// (CVE-2023-25809).
func (b *Build) mountCgroup(p *child.Program, m *mount) {
	at := b.place(p, m, lookup{})
	m.reg = p.Reg()
	path, unified := b.spec.Cgroup[""]
	switch {
	case m.fstype == "cgroup2" || unified && len(b.spec.Cgroup) == 1:
		b.hierarchy(p, m, "", path, m.reg)
	case len(b.spec.Cgroup) == 0:
		b.emptyTmpfs(p, m.reg, b.cgroupValue(m), "it has no group of its own: nothing to show")
	default:
		b.mountCgroup1(p, m, at)
		return
	}
	b.setAll(p, m)
	b.attach(p, m, at)
}

// cgroupValue are the attributes of the mounts. They are read-only unless the specification says otherwise, in a way
// that holds for the container's own group alone.
func (b *Build) cgroupValue(m *mount) uint64 {
	value := m.one.value | cgroupAttributes
	asked := m.one.mask&unix.MOUNT_ATTR_RDONLY != 0
	if !b.spec.NewCgroup && (!asked || b.spec.Rootless) || len(b.spec.Cgroup) == 0 {
		value |= unix.MOUNT_ATTR_RDONLY
	}
	return value
}

// mountCgroup1 makes a tmpfs with a folder for each hierarchy, and a link for each controller that has no folder of its
// name.
func (b *Build) mountCgroup1(p *child.Program, m *mount, at child.Reg) {
	value := b.cgroupValue(m)
	_, fs := p.Fsopen("tmpfs", "a folder for each hierarchy")
	p.Fsconfig(fs, "source", "tmpfs", false)
	p.Fsconfig(fs, "mode", "755", false)
	b.label(p, fs, "tmpfs")
	p.FsconfigCreate(fs, "")
	call, _ := p.Fsmount(fs, value&^unix.MOUNT_ATTR_RDONLY, "")
	call.Into(m.reg)
	p.Close(fs)
	p.MoveMount(m.reg, at, "/"+m.at, "")
	p.Close(at)
	top := child.From("dir", m.reg)
	for _, h := range hierarchies(b.spec.Cgroup) {
		p.Mkdirat(top, h.name, 0o755, "")
		place, mount := p.Reg(), p.Reg()
		open(p, m.reg, h.name, unix.O_PATH|unix.O_DIRECTORY, noLinks, place, "")
		b.hierarchy(p, m, h.name, h.path, mount)
		p.MoveMount(mount, place, "/"+m.at+"/"+h.name, "")
		p.Close(place)
		p.Close(mount)
		for _, key := range h.keys {
			if key != h.name && key != "" && !strings.HasPrefix(key, "name=") {
				p.Symlinkat(h.name, top, key, "a controller that shares its hierarchy")
			}
		}
	}
	if value&unix.MOUNT_ATTR_RDONLY != 0 {
		setAttributes(p, m.reg, 0, unix.MOUNT_ATTR_RDONLY, "")
	}
	b.setAll(p, m)
	b.propagate(p, m)
	p.Close(m.reg)
}

// hierarchy1 is a hierarchy of version 1, or the one of version 2 beside them.
type hierarchy1 struct {
	name string   // of its folder: "cpu,cpuacct", "systemd", "unified"
	path string   // the container's group
	keys []string // as in cgroup.Group.Paths
}

// hierarchies finds those that share a path: they are one hierarchy.
func hierarchies(paths map[string]string) []hierarchy1 {
	byPath := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		byPath[paths[key]] = append(byPath[paths[key]], key)
	}
	var all []hierarchy1
	for path, keys := range byPath {
		name := strings.TrimPrefix(strings.Join(keys, ","), "name=")
		if name == "" {
			name = "unified"
		}
		all = append(all, hierarchy1{name, path, keys})
	}
	slices.SortFunc(all, func(x, y hierarchy1) int { return strings.Compare(x.name, y.name) })
	return all
}

// hierarchy makes one mount of a hierarchy, by its folder's name in version 1, whose root is the container's group.
func (b *Build) hierarchy(p *child.Program, m *mount, name, path string, into child.Reg) {
	value := b.cgroupValue(m)
	bind, done := p.Label(), p.Label()
	if b.spec.NewCgroup {
		b.newHierarchy(p, m, name, path, value, into, bind)
		p.Jump(done)
	}
	p.Bind(bind)
	b.bindGroup(p, path, value, into)
	p.Bind(done)
}

func (b *Build) newHierarchy(
	p *child.Program, m *mount, name, path string, value uint64, into child.Reg, bind child.Label,
) {
	fstype := "cgroup2"
	if name != "" && name != "unified" {
		fstype = "cgroup"
	}
	_, fs := p.Fsopen(fstype, "its root is that of the cgroup namespace: the container's own group")
	p.Fsconfig(fs, "source", fstype, false)
	if fstype == "cgroup" {
		for _, key := range slices.Sorted(maps.Keys(b.spec.Cgroup)) {
			if b.spec.Cgroup[key] != path {
				continue
			}
			if title, named := strings.CutPrefix(key, "name="); named {
				p.Fsconfig(fs, "none", "", true)
				p.Fsconfig(fs, "name", title, false)
			} else {
				p.Fsconfig(fs, key, "", true)
			}
		}
	}
	if m.fstype == "cgroup2" {
		for _, d := range m.data {
			p.Fsconfig(fs, d.key, d.value, d.flag)
		}
	}
	create := p.FsconfigCreate(fs, "")
	call, _ := p.Fsmount(fs, value, "")
	call.Into(into)
	for _, errno := range []unix.Errno{unix.EPERM, unix.EBUSY} {
		create.Else(errno, bind)
		call.Else(errno, bind)
	}
	p.Close(fs)
}

// bindGroup binds the folder of the container's group, and of no other. If there is none, what is bound is empty.
func (b *Build) bindGroup(p *child.Program, path string, value uint64, into child.Reg) {
	if path == "" {
		b.emptyTmpfs(p, into, value|unix.MOUNT_ATTR_RDONLY, "it has no group of its own in this hierarchy")
		return
	}
	call, _ := p.OpenTree(child.AtCwd, path, unix.OPEN_TREE_CLONE, "the container's own group, and nothing above it")
	call.Into(into)
	none, done := p.Label(), p.Label()
	if b.spec.Rootless {
		call.Else(unix.ENOENT, none)
	}
	setAttributes(p, into, 0, value, "")
	p.Jump(done)
	p.Bind(none)
	if b.spec.Rootless {
		b.emptyTmpfs(p, into, value|unix.MOUNT_ATTR_RDONLY,
			"the group can't be seen from here: a writable one of the host's must not be instead")
	}
	p.Bind(done)
}

// emptyTmpfs is a file system in which nothing is.
func (b *Build) emptyTmpfs(p *child.Program, into child.Reg, value uint64, why string) {
	_, fs := p.Fsopen("tmpfs", why)
	p.Fsconfig(fs, "source", "tmpfs", false)
	p.Fsconfig(fs, "mode", "555", false)
	p.Fsconfig(fs, "nr_inodes", "2", false)
	b.label(p, fs, "tmpfs")
	p.FsconfigCreate(fs, "")
	call, _ := p.Fsmount(fs, value, "")
	call.Into(into)
	p.Close(fs)
}
