package container

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/rootfs"
	"tandem/internal/kernfile"
)

// Who starts a container is one of three:
//
//	root of the host        may do everything
//	root of a namespace     of a user namespace that tandem itself was started in: may do what that lets him
//	a user                  may make a user namespace, and in it map himself alone, or what newuidmap(1) grants
//
// hostRoot tells of the first.
func hostRoot() bool { return os.Geteuid() == 0 && !userns.RunningInUserNS() }

// mayCloneMounts tells whether this process may clone mounts of its mount namespace: that has to belong to its user namespace,
// or to one that it is root of. `unshare -U` makes the one without the other.
var mayCloneMounts = sync.OnceValue(func() bool {
	if os.Geteuid() != 0 {
		return false
	}
	if !userns.RunningInUserNS() {
		return true
	}
	mounts, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	defer mounts.Close()
	// EPERM is an owner that is above this process's own user namespace.
	fd, err := unix.IoctlRetInt(int(mounts.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	theirs, err := owner.Stat()
	if err != nil {
		return false
	}
	own, err := os.Stat("/proc/self/ns/user")
	return err == nil && os.SameFile(theirs, own)
})

// maySetGroups tells whether a container's process may choose its groups: not in a user namespace that a user made for
// himself, nor in one below it. Who could drop a group could get at what that group is denied (user_namespaces(7)).
func maySetGroups(n namespaces, groups []uint32) bool {
	if n.has(unix.CLONE_NEWUSER) && os.Geteuid() != 0 {
		return len(groups) > 0
	}
	text, err := kernfile.Read("/proc/self/setgroups")
	return err != nil || strings.TrimSpace(string(text)) != "deny" || len(groups) > 0
}

// checkOwnMappings wants each ID that is mapped to be one that the caller has to give.
func checkOwnMappings(l *specs.Linux, n namespaces) error {
	if n.new&unix.CLONE_NEWUSER == 0 {
		return nil
	}
	for _, m := range []struct {
		field, file, helper string
		maps                []specs.LinuxIDMapping
		own                 int
	}{
		{"linux.uidMappings", "/proc/self/uid_map", "newuidmap", l.UIDMappings, os.Geteuid()},
		{"linux.gidMappings", "/proc/self/gid_map", "newgidmap", l.GIDMappings, os.Getegid()},
	} {
		if len(m.maps) == 1 && m.maps[0].Size == 1 && os.Geteuid() != 0 && int(m.maps[0].HostID) != m.own {
			return invalid("%s: host ID %d: whoever is not root may map himself alone, %d, or several with the help of %s",
				m.field, m.maps[0].HostID, m.own, m.helper)
		}
		text, err := kernfile.Read(m.file)
		if err != nil {
			return err
		}
		for _, x := range m.maps {
			if missing, ok := unmapped(text, x); ok {
				return invalid("%s: host ID %d: the user namespace that tandem runs in has no such ID (%s: %s)",
					m.field, missing, m.file, strings.Join(strings.Fields(string(text)), " "))
			}
		}
	}
	return nil
}

// unmapped finds the first host ID of a mapping that has no place in a uid_map: lines of the first ID inside, the first
// outside, and their number.
func unmapped(uidMap []byte, m specs.LinuxIDMapping) (uint64, bool) {
	next, end := uint64(m.HostID), uint64(m.HostID)+uint64(m.Size)
	for found := true; found && next < end; {
		found = false
		for lines := bufio.NewScanner(bytes.NewReader(uidMap)); lines.Scan(); {
			var inside, outside, size uint64
			if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &size); err != nil {
				continue
			}
			if next >= inside && next < inside+size {
				next, found = inside+size, true
			}
		}
	}
	return next, next < end
}

// overlay is the container's, with its marks where the container's user namespace may write them.
func (a *assembly) overlay() *rootfs.Overlay {
	o := a.spec.Overlay
	if o == nil || o.UserXattr || hostRoot() {
		return o
	}
	with := *o
	with.UserXattr = true
	return &with
}

// explainClone tells what EPERM means to whoever is not root.
func (a *assembly) explainClone(err error) error {
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 && !a.ns.has(unix.CLONE_NEWUSER) {
		return fmt.Errorf("%w: whoever is not root needs a user namespace (linux.namespaces, type user)", err)
	}
	return err
}
