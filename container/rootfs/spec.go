package rootfs

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ErrInvalid is a specification that can't be carried out on any host.
var ErrInvalid = errors.New("invalid root file system")

// Overlay is a root file system of layers, see Documentation/filesystems/overlayfs.rst in the kernel's source.
type Overlay struct {
	// Lower are the layers, the topmost first. Nothing is written to them.
	Lower []string `json:"lower"`
	// Upper takes what the container writes, and Work is a folder of the overlay's own on the same file system. Both
	// empty: nothing can be written.
	Upper string `json:"upper,omitempty"`
	Work  string `json:"work,omitempty"`
	// UserXattr keeps the overlay's marks in user.* attributes, for those who may not write trusted.* ones.
	UserXattr bool `json:"userXattr,omitempty"`
	// Options are more options of the file system's, such as "volatile" or "metacopy=on".
	Options []string `json:"options,omitempty"`
}

// Spec is what is wanted.
type Spec struct {
	// Root is the host's absolute path of the root file system. With an Overlay it is where that is mounted.
	Root    string
	Overlay *Overlay
	// Bundle is the folder that relative sources of bind mounts are taken from.
	Bundle string
	// Readonly makes the root file system read-only in the end.
	Readonly bool
	// Propagation is linux.rootfsPropagation: "", "private", "slave", "shared", "unbindable", or with r before.
	Propagation string
	Mounts      []specs.Mount
	Devices     []specs.LinuxDevice
	Masked      []string
	ReadonlyAt  []string
	Sysctl      map[string]string
	// MountLabel is an SELinux label for new file systems. A kernel without SELinux refuses it.
	MountLabel string
	// UserNS says that the child is in a user namespace that is not the host's: then device nodes are bound, not made,
	// and sources of bind mounts are opened by the parent, whose rights reach farther.
	UserNS bool
	// UIDMappings and GIDMappings are those of the user namespace, if it is a new one, and UserNSPath is the file of
	// one that exists. Mounts with "idmap" and no mappings of their own use them, and they tell if /dev/pts can have
	// group 5.
	UIDMappings, GIDMappings []specs.LinuxIDMapping
	UserNSPath               string
	// NewUser and the like say which namespaces are the container's own (for sysctl and sysfs).
	NewUser, NewNetwork, NewIPC, NewUTS, NewPID, NewCgroup bool
	// Cgroup says how a mount of type cgroup is to be made: the group's path in each hierarchy, as in
	// cgroup.Group.Paths.
	Cgroup map[string]string
	// Rootless says that whoever starts the container is not root on the host, and NoClone that he may not clone its mounts:
	// then the child does, which may in a mount namespace of its own.
	Rootless, NoClone bool
	// NoPivot moves the root onto "/" and uses chroot(2). HostProc are the mount points of procfs and sysfs on the host
	// that are taken away then, so that no way is left to them; nil is /proc and /sys.
	NoPivot  bool
	HostProc []string
	// HostMounts says that the child has no mount namespace of its own. Then the host's mounts stay as they are, all of
	// the container's are below one on Root, which whoever made the container unmounts in the end, and Enter is chroot(2).
	HostMounts bool
}
