package rootfs

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

const (
	// maxLayers is the kernel's OVL_MAX_STACK.
	maxLayers = 500
	// maxValue is the length that fsconfig(2) takes of a value, less one for the NUL byte.
	maxValue = 255
)

// layers are an overlay's, the topmost first. Those in data are only looked at where a file of the others points to
// them.
type layers struct {
	lower, data []string
	upper, work string
	options     []datum
}

func (b *Build) checkOverlay() error {
	o := b.spec.Overlay
	if o == nil {
		return nil
	}
	_, err := o.layers()
	return err
}

func (o *Overlay) layers() (layers, error) {
	l := layers{lower: o.Lower, upper: o.Upper, work: o.Work}
	if len(o.Lower) == 0 {
		return l, invalid("overlay.lower is empty")
	}
	if err := checkLayerCount(len(o.Lower)); err != nil {
		return l, err
	}
	for i, p := range o.Lower {
		if err := hostPath(fmt.Sprintf("overlay.lower[%d]", i), p); err != nil {
			return l, err
		}
	}
	if (o.Upper == "") != (o.Work == "") {
		return l, invalid("overlay.upper %q and overlay.work %q: want both or none", o.Upper, o.Work)
	}
	if o.Upper != "" {
		if err := hostPath("overlay.upper", o.Upper); err != nil {
			return l, err
		}
		if err := hostPath("overlay.work", o.Work); err != nil {
			return l, err
		}
		if below(path.Clean(o.Work), path.Clean(o.Upper)) || below(path.Clean(o.Upper), path.Clean(o.Work)) {
			return l, invalid("overlay.work %q and overlay.upper %q: one lies in the other", o.Work, o.Upper)
		}
	}
	parsed, err := parseOptions(o.Options)
	if err != nil {
		return l, invalid("overlay.options: %v", err)
	}
	for _, d := range parsed.data {
		if slices.Contains([]string{"lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir", "userxattr"}, d.key) {
			return l, invalid("overlay.options: %q has a field of its own", d.key)
		}
	}
	l.options = parsed.data
	if o.UserXattr {
		l.options = append(slices.Clone(l.options), datum{key: "userxattr", flag: true})
	}
	return l, nil
}

func checkLayerCount(n int) error {
	if n > maxLayers {
		return invalid("overlay of %d lower layers: the kernel takes %d at most (OVL_MAX_STACK); unpack some of them into one",
			n, maxLayers)
	}
	return nil
}

// mountOverlay makes the root file system of layers.
func (b *Build) mountOverlay(p *child.Program) {
	l, err := b.spec.Overlay.layers()
	p.Check(err)
	p.Phase("mount an overlay of %d layers on %s", len(l.lower), b.spec.Root)
	_, at := p.Openat2(child.AtCwd, b.spec.Root, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
	if len(l.lower) == 1 && l.upper == "" {
		_, b.root = p.OpenTree(child.AtCwd, l.lower[0], unix.OPEN_TREE_CLONE,
			"one layer, and none to write to: no overlay is needed")
		setAttributes(p, b.root, 0, unix.MOUNT_ATTR_RDONLY, "")
		p.MoveMount(b.root, at, b.spec.Root, "")
		p.Close(at)
		return
	}
	old, done := p.Label(), p.Label()
	b.root = p.Reg()
	b.newOverlay(p, l, "overlay", 0, b.root, old)
	p.MoveMount(b.root, at, b.spec.Root, "")
	p.Jump(done)
	p.Bind(old)
	if b.oldOverlay(p, l, "overlay", 0, at) {
		call, _ := p.Openat2(child.AtCwd, b.spec.Root, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
		call.Into(b.root)
	}
	p.Bind(done)
	p.Close(at)
}

// mountLayers is a mount of the specification's that is of type overlay.
func (b *Build) mountLayers(p *child.Program, m *mount) {
	lower, ok := m.get("lowerdir")
	if !ok {
		b.mountNew(p, m)
		return
	}
	var l layers
	l.lower, l.data = splitLayers(lower)
	upper, _ := m.get("upperdir")
	work, _ := m.get("workdir")
	l.upper, l.work = unescape(upper), unescape(work)
	rest := m.options
	rest.take("lowerdir", "upperdir", "workdir")
	l.options = rest.data

	at := b.place(p, m, lookup{})
	m.reg = p.Reg()
	old, done := p.Label(), p.Label()
	b.newOverlay(p, l, m.source, m.one.value, m.reg, old)
	b.setAll(p, m)
	b.attach(p, m, at)
	p.Jump(done)
	p.Bind(old)
	if b.oldOverlay(p, l, m.source, m.one.value, at) {
		p.Close(at)
	}
	p.Bind(done)
}

// newOverlay gives the kernel one layer at a time (Linux 6.7), by name, or by descriptor (6.13) where the name is too
// long for fsconfig(2) or has characters that overlayfs would read otherwise. Where that can't be done it goes on at
// old.
func (b *Build) newOverlay(
	p *child.Program, l layers, source string, attributes uint64, into child.Reg, old child.Label,
) {
	_, fs := p.Fsopen("overlay", "")
	if source != "" {
		p.Fsconfig(fs, "source", source, false)
	}
	layer := func(key, path string) {
		if len(path) <= maxValue && !strings.ContainsAny(path, `\,:`) {
			p.Fsconfig(fs, key, path, false).Else(unix.EINVAL, old)
			return
		}
		_, fd := p.Openat2(child.AtCwd, path, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
		p.FsconfigFD(fs, key, fd).Else(unix.EINVAL, old).Else(unix.EOPNOTSUPP, old)
		p.Close(fd)
	}
	for _, path := range l.lower {
		layer("lowerdir+", path)
	}
	for _, path := range l.data {
		layer("datadir+", path)
	}
	if l.upper != "" {
		layer("upperdir", l.upper)
		layer("workdir", l.work)
	}
	for _, d := range l.options {
		p.Fsconfig(fs, d.key, d.value, d.flag).Else(unix.EINVAL, old)
	}
	b.label(p, fs, "overlay")
	p.FsconfigCreate(fs, "").Else(unix.EINVAL, old)
	call, _ := p.Fsmount(fs, attributes, "")
	call.Into(into)
	p.Close(fs)
}

// oldOverlay mounts with mount(2) what newOverlay could not, on the working folder: that is the place, and no name of
// it. All options together have one page of memory there.
func (b *Build) oldOverlay(p *child.Program, l layers, source string, attributes uint64, at child.Reg) bool {
	data := l.mountData()
	if len(data) >= os.Getpagesize() {
		p.Fail(fmt.Sprintf("%d bytes of options for %d layers", len(data), len(l.lower)), unix.E2BIG,
			"a kernel before 6.7 takes one page of them: unpack some layers into one, or keep them under a shorter path")
		return false
	}
	p.Fchdir(at, "", "a kernel before 6.7, or an option that it does not know: mount(2) tells")
	p.Mount(source, ".", "overlay", mountFlags(attributes), data, "")
	p.Chdir("/", "")
	return true
}

// mountData are the options as mount(2) takes them.
func (l layers) mountData() string {
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`)
	var lower []string
	for _, path := range l.lower {
		lower = append(lower, escape.Replace(path))
	}
	list := "lowerdir=" + strings.Join(lower, ":")
	for _, path := range l.data {
		list += "::" + escape.Replace(path)
	}
	all := []string{list}
	if l.upper != "" {
		escape := strings.NewReplacer(`\`, `\\`, ",", `\,`)
		all = append(all, "upperdir="+escape.Replace(l.upper), "workdir="+escape.Replace(l.work))
	}
	for _, d := range l.options {
		all = append(all, d.String())
	}
	return strings.Join(all, ",")
}

// mountFlags are a mount's attributes as mount(2) has them.
func mountFlags(attributes uint64) uintptr {
	var flags uintptr
	for attribute, flag := range map[uint64]uintptr{
		unix.MOUNT_ATTR_RDONLY: unix.MS_RDONLY, unix.MOUNT_ATTR_NOSUID: unix.MS_NOSUID, unix.MOUNT_ATTR_NODEV: unix.MS_NODEV,
		unix.MOUNT_ATTR_NOEXEC: unix.MS_NOEXEC, unix.MOUNT_ATTR_NODIRATIME: unix.MS_NODIRATIME,
		unix.MOUNT_ATTR_NOATIME: unix.MS_NOATIME, unix.MOUNT_ATTR_STRICTATIME: unix.MS_STRICTATIME,
		unix.MOUNT_ATTR_NOSYMFOLLOW: unix.MS_NOSYMFOLLOW,
	} {
		if attributes&attribute != 0 {
			flags |= flag
		}
	}
	return flags
}

// splitLayers reads a lowerdir option: paths between colons, and behind two colons one of data. A colon in a path has a
// backslash before it.
func splitLayers(s string) (lower, data []string) {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			parts = append(parts, unescape(s[start:i]))
			start = i + 1
		}
	}
	parts = append(parts, unescape(s[start:]))
	into := &lower
	for _, part := range parts {
		if part == "" {
			into = &data
			continue
		}
		*into = append(*into, part)
	}
	return lower, data
}

// unescape removes the backslashes that keep the next byte as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
