package rootfs

import (
	"slices"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// ownLabels are the file systems that are there before they are mounted, with the labels of their own that the policy gives
// their files.
var ownLabels = []string{"proc", "sysfs", "cgroup", "cgroup2", "mqueue"}

// label gives all of a new file system one SELinux label.
func (b *Build) label(p *child.Program, fs child.Reg, fstype string) {
	if b.spec.MountLabel == "" || slices.Contains(ownLabels, fstype) {
		return
	}
	p.Fsconfig(fs, "context", b.spec.MountLabel, false)
}

// labelQueues labels the folder of the POSIX message queues, from which each of them takes its own. The file system was
// made with the IPC namespace, and takes no label for all of it any more.
func (b *Build) labelQueues(p *child.Program, mount child.Reg) {
	if b.spec.MountLabel == "" {
		return
	}
	_, root := p.Openat2(child.From("dir", mount), ".", unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY}, "")
	p.Call("fsetxattr", unix.SYS_FSETXATTR, "security.selinux", "new queues have the label of their folder",
		child.From("fd", root), p.Str("name", "security.selinux"), p.Str("value", b.spec.MountLabel),
		child.Int("size", len(b.spec.MountLabel)), child.Int("flags", 0)).
		Accept(unix.EOPNOTSUPP) // the policy has one label for all queues
	p.Close(root)
}
