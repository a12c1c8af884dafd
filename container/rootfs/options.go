package rootfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// attribute is a flag of a mount's, see mount_setattr(2), that an option sets or clears. The three ways to keep access
// times are one number, not flags: an option that names one has mask MOUNT_ATTR__ATIME.
type attribute struct {
	mask, value uint64
}

func on(flag uint64) attribute  { return attribute{flag, flag} }
func off(flag uint64) attribute { return attribute{flag, 0} }

func atime(how uint64) attribute { return attribute{unix.MOUNT_ATTR__ATIME, how} }

// attributes are the options that change one mount, and with an r before, all mounts below it too.
var attributes = map[string]attribute{
	"ro": on(unix.MOUNT_ATTR_RDONLY), "rw": off(unix.MOUNT_ATTR_RDONLY),
	"nosuid": on(unix.MOUNT_ATTR_NOSUID), "suid": off(unix.MOUNT_ATTR_NOSUID),
	"nodev": on(unix.MOUNT_ATTR_NODEV), "dev": off(unix.MOUNT_ATTR_NODEV),
	"noexec": on(unix.MOUNT_ATTR_NOEXEC), "exec": off(unix.MOUNT_ATTR_NOEXEC),
	"nodiratime": on(unix.MOUNT_ATTR_NODIRATIME), "diratime": off(unix.MOUNT_ATTR_NODIRATIME),
	"nosymfollow": on(unix.MOUNT_ATTR_NOSYMFOLLOW), "symfollow": off(unix.MOUNT_ATTR_NOSYMFOLLOW),
	"noatime": atime(unix.MOUNT_ATTR_NOATIME), "strictatime": atime(unix.MOUNT_ATTR_STRICTATIME),
	"relatime": atime(unix.MOUNT_ATTR_RELATIME), "atime": atime(unix.MOUNT_ATTR_RELATIME),
	"norelatime": atime(unix.MOUNT_ATTR_RELATIME), "nostrictatime": atime(unix.MOUNT_ATTR_RELATIME),
}

// propagations are the options that tell where mounts made below this one show up too, see mount_namespaces(7). With an
// r before, they are for all mounts below it.
var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE,
}

// superblock are the options that the kernel's VFS takes for a file system, not for a mount of it. A bind mount has no
// use for them, and the ones that stand for what is so anyway are not given.
var superblock = map[string]bool{
	"sync": true, "dirsync": true, "lazytime": true, "mand": true,
	"async": false, "nolazytime": false, "nomand": false,
	// Whether a mount is written to the kernel's log, and a counter that file systems now keep by themselves: neither
	// can be asked for with fsconfig(2).
	"silent": false, "loud": false, "iversion": false, "noiversion": false,
	"defaults": false,
}

// special are the options with a meaning of their own.
var special = map[string]func(*options){
	"bind":      func(o *options) { o.bind = true },
	"rbind":     func(o *options) { o.bind, o.recursive = true, true },
	"remount":   func(o *options) { o.remount = true },
	"tmpcopyup": func(o *options) { o.copyUp = true },
	"idmap":     func(o *options) { o.idmap = true },
	"ridmap":    func(o *options) { o.idmap, o.idmapAll = true, true },
}

// KnownMountOptions are all options that are not passed on to the file system, sorted.
func KnownMountOptions() []string {
	var all []string
	for name := range attributes {
		all = append(all, name, "r"+name)
	}
	for name := range propagations {
		all = append(all, name, "r"+name)
	}
	all = slices.AppendSeq(all, maps.Keys(superblock))
	all = slices.AppendSeq(all, maps.Keys(special))
	slices.Sort(all)
	return all
}

// options is what the options of a mount ask for. What they don't name is left as it is.
type options struct {
	bind, recursive bool
	remount         bool
	copyUp          bool
	idmap, idmapAll bool
	one, all        change
	propagation     []propagation
	data            []datum
}

// change is what is done to a mount's attributes.
type change struct{ mask, value uint64 }

func (c *change) apply(a attribute) {
	c.mask |= a.mask
	c.value = c.value&^a.mask | a.value
}

// attr is the change as mount_setattr(2) takes it: what is set must be cleared too if it is one of several ways.
func (c change) attr() unix.MountAttr {
	return unix.MountAttr{Attr_set: c.value, Attr_clr: c.mask&^c.value | c.mask&unix.MOUNT_ATTR__ATIME}
}

type propagation struct {
	flag      uint64
	recursive bool
}

// datum is an option of a file system's own: a key and a value, or a key alone.
type datum struct {
	key, value string
	flag       bool
}

func (d datum) String() string {
	if d.flag {
		return d.key
	}
	return d.key + "=" + d.value
}

// parseOptions reads a mount's options in their order, so that of two that contradict each other the later one holds.
func parseOptions(list []string) (options, error) {
	var o options
	for _, option := range list {
		if strings.IndexByte(option, 0) >= 0 {
			return o, fmt.Errorf("option %q has a NUL byte", option)
		}
		for _, part := range splitOption(option) {
			if err := o.add(part); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

func (o *options) add(option string) error {
	if f, ok := special[option]; ok {
		f(o)
		return nil
	}
	if a, ok := attributes[option]; ok {
		o.one.apply(a)
		return nil
	}
	if flag, ok := propagations[option]; ok {
		o.propagation = append(o.propagation, propagation{flag, false})
		return nil
	}
	if given, ok := superblock[option]; ok {
		if given {
			o.data = append(o.data, datum{key: option, flag: true})
		}
		return nil
	}
	if name, ok := strings.CutPrefix(option, "r"); ok {
		if a, ok := attributes[name]; ok {
			o.all.apply(a)
			return nil
		}
		if flag, ok := propagations[name]; ok {
			o.propagation = append(o.propagation, propagation{flag, true})
			return nil
		}
	}
	key, value, found := strings.Cut(option, "=")
	if key == "" {
		return fmt.Errorf("option %q has no name", option)
	}
	o.data = append(o.data, datum{key, value, !found})
	return nil
}

// splitOption splits at the commas, as mount(8) would, but not inside of double quotes or behind a backslash.
func splitOption(s string) []string {
	var parts []string
	var part strings.Builder
	quoted, escaped := false, false
	for i := range len(s) {
		c := s[i]
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			parts = append(parts, part.String())
			part.Reset()
			continue
		}
		part.WriteByte(c)
	}
	return append(parts, part.String())
}

// get is the value of a file system's own option.
func (o *options) get(key string) (string, bool) {
	for _, d := range slices.Backward(o.data) {
		if d.key == key {
			return d.value, true
		}
	}
	return "", false
}

// take removes options of the file system's own.
func (o *options) take(keys ...string) {
	o.data = slices.DeleteFunc(slices.Clone(o.data), func(d datum) bool { return slices.Contains(keys, d.key) })
}
