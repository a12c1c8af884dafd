package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// makeRootless changes what a user without rights cannot have. He is root in a user namespace of the box's: with the
// further IDs that /etc/subuid gives him, if newuidmap(1) is there to map them, and alone in it otherwise.
func makeRootless(c *specs.Spec) error {
	l := c.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings, l.GIDMappings = ownIDs(os.Geteuid(), os.Getegid())
	l.Resources.Devices = nil // what he may not use, he may not use in there either
	if len(l.UIDMappings) == 1 {
		for i, m := range c.Mounts {
			if m.Type == "devpts" { // the group of terminals has no name in there
				c.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "gid=5" })
			}
		}
	}
	return nil
}

func ownIDs(uid, gid int) (uids, gids []specs.LinuxIDMapping) {
	uids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(uid), Size: 1}}
	gids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(gid), Size: 1}}
	for _, helper := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(helper); err != nil {
			return uids, gids
		}
	}
	moreUIDs, errU := user.CurrentUserSubUIDs()
	moreGIDs, errG := user.CurrentUserSubGIDs()
	if errU != nil || errG != nil || len(moreUIDs) == 0 || len(moreGIDs) == 0 {
		return uids, gids
	}
	return append(uids, mapFromOne(moreUIDs)...), append(gids, mapFromOne(moreGIDs)...)
}

// mapFromOne lays ranges end to end, behind root.
func mapFromOne(ranges []user.SubID) (maps []specs.LinuxIDMapping) {
	next := uint32(1)
	for _, r := range ranges {
		maps = append(maps, specs.LinuxIDMapping{ContainerID: next, HostID: uint32(r.SubID), Size: uint32(r.Count)})
		next += uint32(r.Count)
	}
	return maps
}

// checkBare refuses a folder with mounts below it. They come into a user's mount namespace locked, see
// mount_namespaces(7), "Restrictions on mount namespaces": the kernel shows nobody there what they cover, and so makes no
// layer of a folder that holds them.
func checkBare(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	below := strings.TrimSuffix(path, "/") + "/"
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint == path || !strings.HasPrefix(m.Mountpoint, below), false
	})
	if err != nil || len(mounts) == 0 {
		return err
	}
	return fmt.Errorf("--rootfs %s: %s is mounted below it, which the kernel allows in no layer of a user's: take an image, or run as root",
		path, mounts[0].Mountpoint)
}
