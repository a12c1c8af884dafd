package container

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaceType is a kind of namespace.
type namespaceType struct {
	kind specs.LinuxNamespaceType
	flag uint64
	file string // below /proc/PID/ns
}

// namespaceTypes are all, in the order in which a process joins them: the user namespace first, as it gives the rights
// for the others; the mount namespace last, as the others' files may be out of sight in it.
var namespaceTypes = []namespaceType{
	{specs.UserNamespace, unix.CLONE_NEWUSER, "user"},
	{specs.IPCNamespace, unix.CLONE_NEWIPC, "ipc"},
	{specs.UTSNamespace, unix.CLONE_NEWUTS, "uts"},
	{specs.NetworkNamespace, unix.CLONE_NEWNET, "net"},
	{specs.PIDNamespace, unix.CLONE_NEWPID, "pid"},
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP, "cgroup"},
	{specs.TimeNamespace, unix.CLONE_NEWTIME, "time"},
	{specs.MountNamespace, unix.CLONE_NEWNS, "mnt"},
}

// netType is the network namespace's place in namespaceTypes.
const netType = 3

// namespaces is where a container's process lives: which namespaces are new, and which are joined.
type namespaces struct {
	new  uint64
	join map[uint64]string // by flag
}

func parseNamespaces(list []specs.LinuxNamespace) (namespaces, error) {
	n := namespaces{join: make(map[uint64]string)}
	seen := make(map[specs.LinuxNamespaceType]bool)
	for i, ns := range list {
		flag := uint64(0)
		for _, t := range namespaceTypes {
			if t.kind == ns.Type {
				flag = t.flag
			}
		}
		switch {
		case flag == 0:
			return n, fmt.Errorf("%w: linux.namespaces[%d].type %q", ErrInvalid, i, ns.Type)
		case seen[ns.Type]:
			return n, fmt.Errorf("%w: linux.namespaces has two of type %q", ErrInvalid, ns.Type)
		case ns.Path == "":
			n.new |= flag
		case !filepath.IsAbs(ns.Path):
			return n, fmt.Errorf("%w: linux.namespaces[%d].path %q is not absolute", ErrInvalid, i, ns.Path)
		default:
			n.join[flag] = ns.Path
		}
		seen[ns.Type] = true
	}
	return n, nil
}

// own are the flags of all that are not the host's.
func (n namespaces) own() uint64 {
	flags := n.new
	for flag := range n.join {
		flags |= flag
	}
	return flags
}

func (n namespaces) has(flag uint64) bool { return n.own()&flag != 0 }

// openNamespace opens a namespace, and sees that it is of that type.
func openNamespace(path string, t namespaceType) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is no namespace: %w", path, err)
	}
	if uint64(kind) != t.flag {
		f.Close()
		return nil, fmt.Errorf("%s is no %s namespace", path, t.kind)
	}
	return f, nil
}
