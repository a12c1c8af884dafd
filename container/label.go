package container

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/container/rootfs"
)

// label asks the kernel's security modules to change the process's label at its next execve, by files of a
// procfs that was checked: what the container has on /proc could be anything (CVE-2025-52881).
// The next execve is the command's.
func (x *identity) label(p *child.Program) {
	type file struct{ path, text, why string }
	var files []file
	if x.ApparmorProfile != "" {
		files = append(files, file{"self/attr/apparmor/exec", "exec " + x.ApparmorProfile, "AppArmor's profile, from the next execve on"})
	}
	if x.SelinuxLabel != "" {
		files = append(files, file{"self/attr/exec", x.SelinuxLabel, "SELinux's context, from the next execve on"})
	}
	if len(files) == 0 {
		return
	}
	p.Phase("set the security label")
	proc := rootfs.Procfs(p)
	for _, f := range files {
		_, fd := p.Openat2(child.From("dir", proc), f.path, unix.OpenHow{
			Flags: unix.O_WRONLY, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		}, "")
		p.WriteTo(fd, fmt.Sprintf("/proc/%s", f.path), f.text, f.why)
		p.Close(fd)
	}
	p.Close(proc)
}
