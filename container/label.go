package container

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/container/rootfs"
)

// unconfined is AppArmor's profile of whoever has none.
const unconfined = "unconfined"

// labelFile is one of those below /proc/PID/attr by which a process asks its security module for another label.
type labelFile struct {
	path, text, why string
	unknown         unix.Errno // what the kernel says to a label that it does not know,
	means           string     // in other words
}

// label asks the kernel's security modules to change the process's label at its next execve. That is the command's: who
// executes it has the rights of the runtime until then, and the label's rules hold for the command alone, which need
// neither allow to execute it nor know of the runtime's files.
//
// attr/apparmor is there since Linux 5.8, and is AppArmor's whichever module attr/exec belongs to.
func (x *identity) label(p *child.Program) {
	var files []labelFile
	if x.ApparmorProfile != "" && (x.ApparmorProfile != unconfined || haveAppArmor()) {
		files = append(files, labelFile{
			"apparmor/exec", "exec " + x.ApparmorProfile, "AppArmor's profile, from the next execve on",
			unix.ENOENT, fmt.Sprintf("AppArmor profile %q is not loaded", x.ApparmorProfile),
		})
	}
	if x.SelinuxLabel != "" {
		files = append(files, labelFile{
			"exec", x.SelinuxLabel, "SELinux's context, from the next execve on", unix.EINVAL, x.unknownLabel(),
		})
	}
	if len(files) > 0 {
		p.Phase("set the security label")
		writeLabels(p, files...)
	}
}

// labelKeys has the session keyring that is made next belong to the command's SELinux context, which else may not look
// into it. The next execve undoes it.
func (x *identity) labelKeys(p *child.Program) {
	if x.SelinuxLabel == "" {
		return
	}
	p.Phase("set the label of keys")
	writeLabels(p, labelFile{"keycreate", x.SelinuxLabel, "the keyring is the container's", unix.EINVAL, x.unknownLabel()})
}

func (x *identity) unknownLabel() string {
	return fmt.Sprintf("SELinux label %q is not one of the policy's", x.SelinuxLabel)
}

// writeLabels writes to files of a procfs that was checked: what the container has on /proc could be anything
// (CVE-2025-52881).
func writeLabels(p *child.Program, files ...labelFile) {
	proc := rootfs.Procfs(p)
	for _, f := range files {
		unknown, done := p.Label(), p.Label()
		path := "self/attr/" + f.path
		_, fd := p.Openat2(child.From("dir", proc), path, unix.OpenHow{
			Flags: unix.O_WRONLY, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		}, "")
		p.WriteTo(fd, "/proc/"+path, f.text, f.why).Else(f.unknown, unknown)
		p.Close(fd)
		p.Jump(done)
		p.Bind(unknown)
		p.Fail(f.means, f.unknown, "")
		p.Bind(done)
	}
	p.Close(proc)
}

// inheritLabels gives a process that is started in a container the container's own labels, unless it has some: nobody gets
// out of them by a process that does not name any.
func inheritLabels(p, container *specs.Process) {
	if container == nil {
		return
	}
	if p.ApparmorProfile == "" {
		p.ApparmorProfile = container.ApparmorProfile
	}
	if p.SelinuxLabel == "" {
		p.SelinuxLabel = container.SelinuxLabel
	}
}

// haveAppArmor tells whether AppArmor was switched on at boot. Its files in /proc are there whether it was or not.
func haveAppArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(text), "Y")
}

func haveSELinux() bool { return exists("/sys/fs/selinux/enforce") }
