// Package rootfs makes the root file system that a container sees.
package rootfs

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/child"
)

// Overlay is a root file system of layers, see Documentation/filesystems/overlayfs.rst in the kernel's source.
type Overlay struct {
	// Lower are the layers, the topmost first. Nothing is written to them.
	Lower []string `json:"lower"`
	// Upper takes what the container writes, and Work is a folder of the overlay's own on the same file system. Both empty:
	// nothing can be written.
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
	// Readonly makes the root file system read-only in the end.
	Readonly bool
	// Propagation is linux.rootfsPropagation: "", "private", "slave", "shared", "unbindable", or with r before.
	Propagation string
	Mounts      []specs.Mount
	Devices     []specs.LinuxDevice
	Masked      []string
	ReadonlyAt  []string
	Sysctl      map[string]string
	MountLabel  string
	// UserNS says that the child is in a user namespace that is not the host's: then device nodes are bound, not made.
	UserNS bool
	// NewNetwork and the like say which namespaces are the container's own (for sysctl and sysfs).
	NewNetwork, NewIPC, NewUTS, NewPID, NewCgroup bool
	// Cgroup says how a mount of type cgroup is to be made: the group's path in each hierarchy, as in
	// cgroup.Group.Paths.
	Cgroup map[string]string
	// Rootless says that whoever starts the container is not root on the host.
	Rootless bool
	NoPivot  bool
}

// Build is the root file system's part of a child's program. Its methods add to the program, in this order: Prepare
// (everything is mounted below Root), then, if the process has a terminal, Console, then Enter (Root becomes "/"), then
// Finish (masks, sysctls, read-only paths). Between Prepare and Enter the host's files can still be reached.
type Build struct{}

// New checks the specification.
func New(s Spec) (*Build, error) { return nil, nil }

// Prepare mounts what the specification names, and fills /dev.
func (b *Build) Prepare(p *child.Program) {}

// Console binds the terminal that is open in the register on /dev/console.
func (b *Build) Console(p *child.Program, terminal child.Reg) {}

// Pty opens a terminal in the container's own devpts, if it has one. The registers are its two ends.
func (b *Build) Pty(p *child.Program) (master, slave child.Reg, ok bool) { return 0, 0, false }

// Enter makes Root the child's "/".
func (b *Build) Enter(p *child.Program) {}

// Finish does what has to be done from inside.
func (b *Build) Finish(p *child.Program) {}

// Files are descriptors of the parent's that the program uses. Close them when the child was started.
func (b *Build) Close() error { return nil }
