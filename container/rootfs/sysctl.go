package rootfs

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// sysctl is a value of the kernel's to be set, for a namespace of the container's own.
type sysctl struct {
	path  string // below /proc/sys
	value string
}

// The sysctls that belong to an IPC namespace and to a UTS namespace, see namespaces(7). All that begin with fs/mqueue/
// belong to the first too.
var (
	ipcSysctl = []string{
		"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax",
		"kernel/shmmni",
		"kernel/shm_rmid_forced",
	}
	utsSysctl = []string{"kernel/domainname", "kernel/hostname"}
)

func (b *Build) checkSysctl() error {
	for _, name := range slices.Sorted(maps.Keys(b.spec.Sysctl)) {
		value := b.spec.Sysctl[name]
		path, err := sysctlPath(name)
		if err != nil {
			return err
		}
		if strings.IndexByte(value, 0) >= 0 || len(value) > 4096 {
			return invalid("linux.sysctl %s: %.40q is no value", name, value)
		}
		if err := b.ownSysctl(name, path); err != nil {
			return err
		}
		b.sysctl = append(b.sysctl, sysctl{path, value})
	}
	return nil
}

// sysctlPath reads both spellings: names between dots, and names between slashes. What comes first is what separates;
// the other is part of a name, turned around where dots separate: net.ipv4.conf.eth0/1.forwarding is of the link
// eth0.1.
func sysctlPath(name string) (string, error) {
	path := name
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return "", invalid("linux.sysctl %q is no name of one", name)
		}
	}
	if !strings.Contains(path, "/") {
		return "", invalid("linux.sysctl %q is no name of one", name)
	}
	return path, nil
}

// ownSysctl refuses what would change the host.
func (b *Build) ownSysctl(name, path string) error {
	top, _, _ := strings.Cut(path, "/")
	var owner string
	var own bool
	switch {
	case slices.Contains(ipcSysctl, path), strings.HasPrefix(path, "fs/mqueue/"):
		owner, own = "an IPC", b.spec.NewIPC
	case slices.Contains(utsSysctl, path):
		owner, own = "a UTS", b.spec.NewUTS
	case top == "net":
		owner, own = "a network", b.spec.NewNetwork
	case top == "user":
		owner, own = "a user", b.spec.NewUser
	default:
		return invalid("linux.sysctl %s belongs to no namespace: it would be the host's too", name)
	}
	if !own {
		return invalid("linux.sysctl %s belongs to %s namespace, and the container has the host's", name, owner)
	}
	return nil
}

func (b *Build) writeSysctl(p *child.Program) {
	p.Phase("set sysctls")
	proc := Procfs(p)
	for _, s := range b.sysctl {
		file := p.Reg()
		open(p, proc, "sys/"+s.path, unix.O_WRONLY, noLinks|unix.RESOLVE_NO_XDEV, file, "").Into(file)
		p.WriteTo(file, "/proc/sys/"+s.path, s.value, "")
		p.Close(file)
	}
	p.Close(proc)
}

// Procfs opens a procfs that the container can't have changed: a new one, which is mounted nowhere, or where that is
// refused, the one on /proc if that is one, and its topmost folder. Files in it are to be opened with RESOLVE_NO_XDEV
// and RESOLVE_NO_SYMLINKS, so that nothing which is mounted over one of them is written to (CVE-2025-52881). It is
// for labels too, and comes after Enter.
func Procfs(p *child.Program) child.Reg {
	proc := p.Reg()
	mounted, done := p.Label(), p.Label()
	_, fs := p.Fsopen("proc", "one that nobody else can reach")
	p.FsconfigCreate(fs, "").Else(unix.EPERM, mounted)
	call, _ := p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, "")
	call.Into(proc).Else(unix.EPERM, mounted)
	p.Close(fs)
	p.Jump(done)
	p.Bind(mounted)
	call, _ = p.Openat2(child.AtCwd, "/proc", unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY, Resolve: unix.RESOLVE_NO_SYMLINKS,
	}, "the container's, if it is one")
	call.Into(proc)
	p.ExpectFS(proc, "/proc", unix.PROC_SUPER_MAGIC, unix.EINVAL, "")
	p.Expect(p.Fstat(proc, "/proc", "").Inode, ^uint64(0), procRoot, unix.EINVAL, "its topmost folder")
	p.Bind(done)
	return proc
}
