package rootfs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("rootfs: %w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// hostPath checks a path of the host's: absolute, and without a NUL byte, which would cut it short.
func hostPath(field, p string) error {
	switch {
	case p == "":
		return invalid("%s is empty", field)
	case !path.IsAbs(p):
		return invalid("%s %q: not an absolute path", field, p)
	case strings.IndexByte(p, 0) >= 0:
		return invalid("%s %q has a NUL byte", field, p)
	case len(p) >= unix.PathMax:
		return invalid("%s %.40q... has %d bytes, a path has at most %d", field, p, len(p), unix.PathMax-1)
	}
	return nil
}

// insidePath is a path in the container as its components, of which there is at least one.
func insidePath(field, p string) (string, error) {
	if p == "" {
		return "", invalid("%s is empty", field)
	}
	// Specifications before 1.0 had relative ones, which are taken from "/". A ".." at the top leads nowhere.
	clean := path.Clean("/" + p)
	if err := hostPath(field, clean); err != nil {
		return "", err
	}
	if clean == "/" {
		return "", invalid("%s %q is the root itself", field, p)
	}
	return clean[1:], nil
}

func (b *Build) checkRoot() error {
	if err := hostPath("root.path", b.spec.Root); err != nil {
		return err
	}
	if path.Clean(b.spec.Root) == "/" {
		return invalid("root.path %q: the host's root can't be one of a container's, but a lower layer of it can",
			b.spec.Root)
	}
	for _, p := range b.spec.HostProc {
		if err := hostPath("host's mount point", p); err != nil {
			return err
		}
	}
	return nil
}

func (b *Build) checkPropagation() error {
	name := b.spec.Propagation
	if name == "" {
		return nil
	}
	rest, recursive := strings.CutPrefix(name, "r")
	flag, ok := propagations[rest]
	if !ok {
		return invalid("linux.rootfsPropagation %q: want shared, slave, private or unbindable, or one of them with r before",
			name)
	}
	if b.spec.NoPivot && flag == unix.MS_PRIVATE {
		return invalid("linux.rootfsPropagation %q without pivot_root: the host's mounts stay below, and could never be removed",
			name)
	}
	b.propagation = propagation{flag, recursive}
	return nil
}

// allowedInProc are files of procfs over which a file may be mounted: lxcfs and its like show a container its own
// limits there. Everything else in procfs is what the kernel says, or a runtime could be told lies through it.
var allowedInProc = []string{
	"proc/cpuinfo", "proc/diskstats", "proc/meminfo", "proc/stat", "proc/swaps", "proc/uptime", "proc/loadavg",
	"proc/slabinfo", "proc/net/dev", "proc/sys/kernel/ns_last_pid", "proc/sys/crypto/fips_enabled",
}

func (b *Build) checkMounts() error {
	for i, s := range b.spec.Mounts {
		field := fmt.Sprintf("mounts[%d]", i)
		m, err := b.parseMount(field, s)
		if err != nil {
			return err
		}
		b.mounts = append(b.mounts, m)
	}
	for i := range b.mounts {
		m := &b.mounts[i]
		if m.at == "dev/pts" {
			b.devpts = nil
			if m.fstype == "devpts" && !m.bind && !m.remount {
				b.devpts = m
			}
		}
	}
	return nil
}

func (b *Build) parseMount(field string, s specs.Mount) (mount, error) {
	m := mount{fstype: s.Type, source: s.Source}
	var err error
	if m.at, err = insidePath(field+".destination", s.Destination); err != nil {
		return m, err
	}
	if m.options, err = parseOptions(s.Options); err != nil {
		return m, invalid("%s.options of %q: %v", field, s.Destination, err)
	}
	if s.Type == "bind" || s.Type == "rbind" {
		m.bind, m.recursive = true, m.recursive || s.Type == "rbind"
	}
	if strings.IndexByte(s.Type, 0) >= 0 || strings.IndexByte(s.Source, 0) >= 0 {
		return m, invalid("%s of %q: type %q or source %q has a NUL byte", field, s.Destination, s.Type, s.Source)
	}
	switch {
	case m.remount:
	case m.bind:
		if err := b.checkSource(field, &m); err != nil {
			return m, err
		}
	case s.Type == "" || s.Type == "none":
		return m, invalid("%s of %q has type %q and neither bind nor rbind among its options",
			field, s.Destination, s.Type)
	}
	if err := b.checkIDMap(field, &m, s); err != nil {
		return m, err
	}
	if m.copyUp && m.fstype != "tmpfs" {
		return m, invalid("%s of %q has the option tmpcopyup and type %q: only a tmpfs can be filled",
			field, s.Destination, s.Type)
	}
	if lowerdir, ok := m.get("lowerdir"); ok && m.fstype == "overlay" {
		lower, data := splitLayers(lowerdir)
		if err := checkLayerCount(len(lower) + len(data)); err != nil {
			return m, fmt.Errorf("%w: %s", err, field)
		}
	}
	return m, checkProc(field, &m)
}

func (b *Build) checkSource(field string, m *mount) error {
	if m.source == "" {
		return invalid("%s of /%s is a bind mount without a source", field, m.at)
	}
	if !path.IsAbs(m.source) {
		if b.spec.Bundle == "" {
			return invalid("%s.source %q is relative, and there is no bundle that it could be relative to",
				field, m.source)
		}
		m.source = path.Join(b.spec.Bundle, m.source)
	}
	return hostPath(field+".source", m.source)
}

func (b *Build) checkIDMap(field string, m *mount, s specs.Mount) error {
	m.uids, m.gids = s.UIDMappings, s.GIDMappings
	if len(m.uids) == 0 != (len(m.gids) == 0) {
		return invalid("%s of /%s has mappings for %d users and %d groups: want both or none",
			field, m.at, len(m.uids), len(m.gids))
	}
	m.idmap = m.idmap || len(m.uids) > 0
	if !m.idmap {
		return nil
	}
	if !m.bind {
		return invalid("%s of /%s has type %q: only bind mounts can have mappings", field, m.at, m.fstype)
	}
	if len(m.uids) == 0 {
		m.uids, m.gids = b.spec.UIDMappings, b.spec.GIDMappings
		if len(m.uids) == 0 && b.spec.UserNSPath == "" {
			return invalid("%s of /%s is to be idmapped, and neither it nor the container has mappings", field, m.at)
		}
	}
	return nil
}

// checkProc refuses mounts that would put something else in procfs's place. What an image's links make of the path is
// checked when it is mounted, see mount.guard.
func checkProc(field string, m *mount) error {
	if m.remount || m.at != "proc" && !strings.HasPrefix(m.at, "proc/") || slices.Contains(allowedInProc, m.at) {
		return nil
	}
	if m.at == "proc" && (m.bind || m.fstype == "proc") {
		return nil
	}
	return invalid("%s.destination \"/%s\" lies in procfs: %s could tell the container, and its runtime, anything there",
		field, m.at, m.fstype)
}

func (b *Build) checkPaths() error {
	b.spec.ReadonlyAt = slices.Clone(b.spec.ReadonlyAt)
	for i := len(b.spec.ReadonlyAt) - 1; i >= 0; i-- {
		if path.Clean(b.spec.ReadonlyAt[i]) == "/" {
			b.spec.Readonly = true
			b.spec.ReadonlyAt = slices.Delete(b.spec.ReadonlyAt, i, i+1)
		}
	}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"linux.maskedPaths", b.spec.Masked}, {"linux.readonlyPaths", b.spec.ReadonlyAt}} {
		for i, p := range list.paths {
			field := fmt.Sprintf("%s[%d]", list.name, i)
			if !path.IsAbs(p) {
				return invalid("%s %q: not an absolute path", field, p)
			}
			if _, err := insidePath(field, p); err != nil {
				return err
			}
		}
	}
	return nil
}
