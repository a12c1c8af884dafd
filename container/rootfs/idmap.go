package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// takeIDMapped clones a source, and has the kernel show its files as other users': an owner of containerID in the
// source is hostID in the mount.
//
// The parent does it: the right to change how a file system's owners appear goes with the user namespace that mounted
// the file system, which is not the container's.
func (b *Build) takeIDMapped(p *child.Program, m *mount, flags uint64) child.Reg {
	maps := [2]string{idMap(m.uids), idMap(m.gids)}
	path := ""
	show := fmt.Sprintf("uid_map=%q gid_map=%q", maps[0], maps[1])
	if len(m.uids) == 0 {
		path, show = b.spec.UserNSPath, b.spec.UserNSPath
	}
	attr := uint64(unix.AT_EMPTY_PATH)
	if m.idmapAll {
		attr |= unix.AT_RECURSIVE
	}
	return p.Beforehand("mount_setattr", m.source, "by the parent, on a clone: only who mounted it may map its owners",
		func() (*os.File, error) { return idMapped(m.source, flags, attr, path, maps) },
		child.Flags("set", unix.MOUNT_ATTR_IDMAP, "MOUNT_ATTR_IDMAP"), child.Flags("userns", 0, show))
}

// idMap is the text of uid_map, see user_namespaces(7).
func idMap(mappings []specs.LinuxIDMapping) string {
	var s strings.Builder
	for _, m := range mappings {
		fmt.Fprintf(&s, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return s.String()
}

func idMapped(source string, flags, attrFlags uint64, path string, maps [2]string) (*os.File, error) {
	userns, err := openUserNS(path, maps)
	if err != nil {
		return nil, fmt.Errorf("user namespace for an idmapped mount: %w", err)
	}
	defer userns.Close()
	tree, err := openTree(source, flags)
	if err != nil {
		return nil, err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err := unix.MountSetattr(int(tree.Fd()), "", uint(attrFlags), attr); err != nil {
		tree.Close()
		return nil, &os.PathError{Op: "mount_setattr MOUNT_ATTR_IDMAP", Path: source, Err: err}
	}
	return tree, nil
}

// openUserNS makes a user namespace that has mappings and no processes. It lives as long as its descriptor, and what
// the kernel has made of it.
func openUserNS(path string, maps [2]string) (*os.File, error) {
	if path != "" {
		return os.Open(path)
	}
	p := child.New()
	p.Sync("born", "its namespace gets its mappings")
	p.Exit(0)
	process, err := p.Start(child.Options{Namespaces: unix.CLONE_NEWUSER})
	if err != nil {
		return nil, err
	}
	defer func() {
		process.Kill()
		process.Close()
	}()
	if _, err := process.Next(context.Background()); err != nil {
		return nil, err
	}
	proc := "/proc/" + strconv.Itoa(process.PID)
	err = errors.Join(
		os.WriteFile(proc+"/uid_map", []byte(maps[0]), 0),
		os.WriteFile(proc+"/gid_map", []byte(maps[1]), 0))
	if err != nil {
		return nil, err
	}
	return os.Open(proc + "/ns/user")
}
