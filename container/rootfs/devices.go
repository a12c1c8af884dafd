package rootfs

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// device is a node to be made in the container.
type device struct {
	at       string // in the container, without the slash before it
	host     string // the host's node of the same device
	mode     uint32 // with the type
	number   uint64
	uid, gid uint32
}

// defaultDevices are those that the specification says are always there (config-linux.md, Default Devices).
var defaultDevices = []device{
	{at: "dev/null", number: unix.Mkdev(1, 3)},
	{at: "dev/zero", number: unix.Mkdev(1, 5)},
	{at: "dev/full", number: unix.Mkdev(1, 7)},
	{at: "dev/random", number: unix.Mkdev(1, 8)},
	{at: "dev/urandom", number: unix.Mkdev(1, 9)},
	{at: "dev/tty", number: unix.Mkdev(5, 0)},
}

var deviceTypes = map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}

func (b *Build) checkDevices() error {
	for _, d := range defaultDevices {
		d.mode, d.host = unix.S_IFCHR|0o666, "/"+d.at
		b.devices = append(b.devices, d)
	}
	for i, s := range b.spec.Devices {
		d, err := parseDevice(fmt.Sprintf("linux.devices[%d]", i), s)
		if err != nil {
			return err
		}
		if at := slices.IndexFunc(b.devices, func(x device) bool { return x.at == d.at }); at >= 0 {
			b.devices[at] = d
		} else {
			b.devices = append(b.devices, d)
		}
	}
	return nil
}

func parseDevice(field string, s specs.LinuxDevice) (device, error) {
	var d device
	var err error
	if d.at, err = insidePath(field+".path", s.Path); err != nil {
		return d, err
	}
	if !path.IsAbs(s.Path) {
		return d, invalid("%s.path %q: not an absolute path", field, s.Path)
	}
	if d.at == "proc" || strings.HasPrefix(d.at, "proc/") {
		return d, invalid("%s.path %q lies in procfs", field, s.Path)
	}
	d.host = path.Clean(s.Path)
	kind, ok := deviceTypes[s.Type]
	if !ok {
		return d, invalid("%s.type %q of %s: want c, b, u or p", field, s.Type, s.Path)
	}
	// The kernel's dev_t has 12 bits for a major number, and 20 for a minor one.
	if s.Type != "p" && (s.Major < 0 || s.Major >= 1<<12 || s.Minor < 0 || s.Minor >= 1<<20) {
		return d, invalid("%s of %s: no device has the number %d:%d", field, s.Path, s.Major, s.Minor)
	}
	d.mode = kind | 0o666
	if s.FileMode != nil {
		d.mode = kind | uint32(*s.FileMode)&0o7777
	}
	if s.Type != "p" {
		d.number = unix.Mkdev(uint32(s.Major), uint32(s.Minor))
	}
	if s.UID != nil {
		d.uid = *s.UID
	}
	if s.GID != nil {
		d.gid = *s.GID
	}
	return d, nil
}

// fillDev makes device nodes and links in /dev. It is opened with no link taken: one that an image has in its place
// would else decide where on the host files are removed and made (CVE-2026-41579).
func (b *Build) fillDev(p *child.Program) {
	p.Phase("fill /dev")
	b.dev = b.find(p, lookup{path: "dev", resolve: noLinks})
	for _, d := range b.devices {
		dir, name := b.dev, path.Base(d.at)
		if parent := path.Dir(d.at); parent != "dev" && parent != "." {
			dir = b.find(p, lookup{path: parent, resolve: noLinks})
		} else if parent == "." {
			dir = b.root
		}
		b.makeDevice(p, d, dir, name)
		if dir != b.dev && dir != b.root {
			p.Close(dir)
		}
	}
	dev := child.From("dir", b.dev)
	for _, link := range [][2]string{
		{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {
			"stderr",
			"/proc/self/fd/2",
		},
	} {
		p.Symlinkat(link[1], dev, link[0], "")
	}
	none := p.Label()
	p.Access("/proc/kcore", "only where the kernel shows its memory").Else(unix.ENOENT, none)
	p.Symlinkat("/proc/kcore", dev, "core", "")
	p.Bind(none)
	p.Unlinkat(dev, "ptmx", "the host's would open terminals of the host's")
	p.Symlinkat("pts/ptmx", dev, "ptmx", "that of the container's own devpts")
}

// makeDevice makes a node, or binds the host's where the kernel doesn't let the child make one. What is in its place
// is kept if it is that device, and removed if it is not: nothing else that is called /dev/null can be trusted with
// what is written to it.
func (b *Build) makeDevice(p *child.Program, d device, dir child.Reg, name string) {
	folder := child.From("dir", dir)
	bind, owner, done := p.Label(), p.Label(), p.Label()
	if b.spec.UserNS && d.mode&unix.S_IFMT != unix.S_IFIFO {
		p.Bind(bind)
		b.bindDevice(p, d, dir, name)
		p.Bind(owner)
		p.Bind(done)
		return
	}
	exists, other := p.Label(), p.Label()
	p.Mknodat(folder, name, d.mode, d.number, "").Else(unix.EEXIST, exists).Else(unix.EPERM, bind)
	p.Jump(owner)
	p.Bind(exists)
	file := p.Reg()
	open(p, dir, name, unix.O_PATH|unix.O_NOFOLLOW, noLinks, file, "it is there: is it that device?")
	stat := p.Fstat(file, name, "")
	p.Close(file)
	p.Unless(stat.Mode, unix.S_IFMT, uint64(d.mode&unix.S_IFMT), other)
	p.Unless(stat.Device, ^uint64(0), d.number, other)
	p.Jump(done)
	p.Bind(other)
	p.Unlinkat(folder, name, "something else is in its place")
	p.Mknodat(folder, name, d.mode, d.number, "").Else(unix.EPERM, bind)
	p.Bind(owner)
	if d.uid != 0 || d.gid != 0 {
		p.Fchownat(folder, name, d.uid, d.gid, "")
	}
	p.Jump(done)
	p.Bind(bind)
	b.bindDevice(p, d, dir, name)
	p.Bind(done)
}

// bindDevice puts the host's node in the place of one that can't be made in a user namespace.
func (b *Build) bindDevice(p *child.Program, d device, dir child.Reg, name string) {
	_, node := p.OpenTree(child.AtCwd, d.host, unix.OPEN_TREE_CLONE,
		"the host's: nodes can't be made in a user namespace")
	stat := p.Fstat(node, d.host, "is it that device?")
	p.Expect(stat.Mode, unix.S_IFMT, uint64(d.mode&unix.S_IFMT), unix.ENODEV, "")
	p.Expect(stat.Device, ^uint64(0), d.number, unix.ENODEV, "")
	b.attachFile(p, node, dir, name)
	p.Close(node)
}

// attachFile mounts on a file of a folder, which is made if it is not there. No link is taken.
func (b *Build) attachFile(p *child.Program, mount, dir child.Reg, name string) {
	p.Mknodat(child.From("dir", dir), name, unix.S_IFREG|0o600, 0, "a place to mount on").Accept(unix.EEXIST)
	at := p.Reg()
	open(p, dir, name, unix.O_PATH, noLinks, at, "")
	p.MoveMount(mount, at, name, "")
	p.Close(at)
}

// answer is what a specification tells of something that the kernel decides.
type answer int

const (
	unknown answer = iota
	yes
	no
)

// hasGroup tells if a group has a number in the container's user namespace.
func (b *Build) hasGroup(value string) answer {
	gid, err := strconv.ParseUint(value, 10, 32)
	switch {
	case err != nil || !b.spec.UserNS:
		return yes // or whatever the kernel says
	case len(b.spec.GIDMappings) == 0:
		return unknown
	case slices.ContainsFunc(b.spec.GIDMappings, func(m specs.LinuxIDMapping) bool {
		return gid >= uint64(m.ContainerID) && gid-uint64(m.ContainerID) < uint64(m.Size)
	}):
		return yes
	}
	return no
}
