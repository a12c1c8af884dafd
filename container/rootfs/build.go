package rootfs

import (
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// Build is the root file system's part of a child's program. Its methods add to the program, in this order: Prepare
// (everything is mounted below Root), then, if the process has a terminal, Console, then Enter (Root becomes "/"), then
// Finish (masks, sysctls, read-only paths). Between Prepare and Enter the host's files can still be reached.
type Build struct {
	spec    Spec
	mounts  []mount
	devices []device
	sysctl  []sysctl
	propagation

	root   child.Reg // the mount of the root file system, open
	dev    child.Reg // its /dev, if devices are made in it
	devpts *mount    // what Pty uses
	// readonly are mounts that become so at the end, when all in them is made.
	readonly []*mount
}

// New checks the specification. An error wraps ErrInvalid, and names the field and its value.
func New(s Spec) (*Build, error) {
	b := &Build{spec: s}
	for _, check := range []func() error{
		b.checkRoot, b.checkOverlay, b.checkPropagation, b.checkMounts, b.checkDevices, b.checkPaths, b.checkSysctl,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Prepare mounts what the specification names, and fills /dev.
//
// It leaves the umask at 0. Finish sets it to 022.
func (b *Build) Prepare(p *child.Program) {
	b.takeSources(p)
	b.detachFromHost(p)
	b.mountRoot(p)
	for i := range b.mounts {
		b.mount(p, &b.mounts[i])
	}
	if b.makesDevices() {
		b.fillDev(p)
	}
}

// detachFromHost ends the flow of mounts from this namespace to others. What the host mounts from now on may still come
// in, unless the specification says "private".
func (b *Build) detachFromHost(p *child.Program) {
	p.Phase("keep mounts from the host")
	p.Umask(0, "modes are what the specification says")
	if b.spec.HostMounts {
		return
	}
	p.MountSetattr(child.None, "/", unix.AT_RECURSIVE, unix.MountAttr{Propagation: b.inherited()},
		"no mount made here shows up on the host; and pivot_root wants no shared parent")
}

// inherited is the propagation of what was there before.
func (b *Build) inherited() uint64 {
	if b.flag == unix.MS_PRIVATE {
		return unix.MS_PRIVATE
	}
	return unix.MS_SLAVE
}

// mountRoot makes the root file system a mount, as pivot_root(2) wants it.
func (b *Build) mountRoot(p *child.Program) {
	if b.spec.Overlay != nil {
		b.mountOverlay(p)
		return
	}
	p.Phase("make %s a mount", b.spec.Root)
	_, b.root = p.OpenTree(child.AtCwd, b.spec.Root, unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE,
		"pivot_root takes nothing but a mount")
	if b.spec.HostMounts {
		p.MountSetattr(child.From("dir", b.root), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Propagation: unix.MS_PRIVATE},
			"what is mounted below it comes up nowhere else")
	}
	_, at := p.Openat2(child.AtCwd, b.spec.Root, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
	p.MoveMount(b.root, at, b.spec.Root, "on the folder that it is a view of")
	p.Close(at)
}

// Close releases what the parent holds for the program: nothing, since all that it opens is opened when the child
// starts, and closed right after. It is there for callers to defer.
func (b *Build) Close() error { return nil }
