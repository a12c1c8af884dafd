package rootfs

import (
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// Enter makes Root the child's "/". The host's files are out of reach afterwards.
func (b *Build) Enter(p *child.Program) {
	if b.spec.HostMounts {
		p.Phase("enter the root file system")
		p.Fchdir(b.root, b.spec.Root, "")
		p.Chroot(".", "the mount namespace is the host's, whose root has to stay")
		p.Chdir("/", "")
		return
	}
	if b.spec.NoPivot {
		b.enterByChroot(p)
		return
	}
	p.Phase("enter the root file system")
	_, old := p.Openat2(child.AtCwd, "/", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY},
		"the host's root, to be let go of")
	p.Fchdir(b.root, b.spec.Root, "")
	p.PivotRoot(".", ".", "the old root lies upon the new one now: no folder is needed for it")
	p.Fchdir(old, "the old root", "")
	p.MountSetattr(child.From("dir", old), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Propagation: unix.MS_PRIVATE},
		"or the host's mounts would go with it")
	p.Umount(".", unix.MNT_DETACH, "nothing of the host's is left")
	p.Close(old)
	p.Chdir("/", "from here on / is the container's")
}

// enterByChroot is for a root that can't be pivoted away from: that of an initramfs. The host's files stay below, in
// the mount that was the root, and so its procfs and sysfs are taken away: what a chroot is left through is of no use
// then.
func (b *Build) enterByChroot(p *child.Program) {
	p.Phase("take the host's procfs and sysfs away")
	mounts := b.spec.HostProc
	if mounts == nil {
		mounts = []string{"/proc", "/sys"}
	}
	for _, path := range mounts {
		b.hide(p, path)
	}
	p.Phase("move the root file system onto /")
	_, old := p.Openat2(child.AtCwd, "/", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
	p.Fchdir(b.root, b.spec.Root, "")
	p.MoveMount(b.root, old, "/", "")
	p.Chroot(".", "a mount upon / is not seen by who is there already")
	p.Close(old)
	p.Chdir("/", "")
}

// hide unmounts something of the host's, or covers it where that may not be done: in a user namespace.
func (b *Build) hide(p *child.Program, path string) {
	cover, done := p.Label(), p.Label()
	p.Umount(path, unix.MNT_DETACH, "").Else(unix.EINVAL, cover).Else(unix.EPERM, cover).Else(unix.ENOENT, done)
	p.Jump(done)
	p.Bind(cover)
	mount, at := p.Reg(), p.Reg()
	b.emptyTmpfs(p, mount, unix.MOUNT_ATTR_RDONLY, "it can't be unmounted here, but covered")
	call, _ := p.Openat2(child.AtCwd, path, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
	call.Into(at)
	p.MoveMount(mount, at, path, "")
	p.Close(at)
	p.Close(mount)
	p.Bind(done)
}
