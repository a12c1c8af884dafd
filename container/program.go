package container

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/container/child"
)

// writeProgram is the child's half: from its birth in new namespaces to the container's command.
func (a *assembly) writeProgram(p *child.Program) {
	a.joinCgroup(p)
	a.joinNamespaces(p)
	x := a.process
	x.early(p)
	a.names(p)
	if !a.spec.Config.Process.Terminal {
		x.stdio(p, [3]*os.File{a.spec.Stdin, a.spec.Stdout, a.spec.Stderr})
	}
	a.root.Prepare(p)
	if a.hooksBeforeRoot() {
		p.Phase("wait for hooks")
		p.Sync(syncMounted, "the host's hooks may look at the container, and change it, before it is closed")
	}
	if x.Terminal {
		a.takeTerminal(p)
	}
	a.root.Enter(p)
	a.makeCwd(p) // as long as the root can be written to
	a.root.Finish(p)
	found := x.late(p, a.spec.PreserveFDs, func() *child.Found { return p.FindCommand(x.command(a.spec.PreserveFDs)) })
	if a.detached {
		a.waitForStart(p)
	} else {
		p.Phase("tell the parent")
		p.Sync(syncCreated, "all is done but the command")
	}
	p.Exec(found)
}

// joinCgroup comes first: what the process uses from now on is counted. But if its group is still to be made, the process
// makes its namespaces until then.
func (a *assembly) joinCgroup(p *child.Program) {
	if !a.cgroupMeanwhile() {
		joinCgroup(p, a.group, a.bornIntoCgroup())
		return
	}
	p.Phase("make namespaces")
	flags := a.ns.new & ownNamespaces
	p.Call("unshare", unix.SYS_UNSHARE, "", "", child.Flags("flags", flags, child.CloneFlags(flags)))
	p.Phase("join the cgroup")
	p.Await("socket", "the parent makes it meanwhile")
	for _, path := range a.group.JoinFiles(false) {
		_, fd := p.Openat2(child.AtCwd, path, unix.OpenHow{Flags: unix.O_WRONLY}, "")
		p.WriteTo(fd, path, "0", "0 is the writer itself")
		p.Close(fd)
	}
}

// joinCgroup is for a group that is there. Who was born into its version 2 group joins the others alone.
func joinCgroup(p *child.Program, g *cgroup.Group, born bool) {
	if g == nil {
		return
	}
	p.Phase("join the cgroup")
	for _, path := range g.JoinFiles(born) {
		joinFile(p, path, "0 is the writer itself", openJoin(path))
	}
}

// joinNamespaces gets the child where it belongs, and root's identity in a user namespace.
func (a *assembly) joinNamespaces(p *child.Program) {
	if a.needsBorn() {
		p.Phase("wait for the parent")
		p.Sync(syncBorn, "what only the parent may do: the user namespace's maps, the network and the like")
	}
	hideMemory(p)
	if user := a.ns.join[unix.CLONE_NEWUSER]; user != "" {
		p.Phase("join the user namespace")
		a.setns(p, namespaceTypes[0])
	}
	if a.ns.has(unix.CLONE_NEWUSER) {
		becomeRoot(p)
	}
	p.Phase("join namespaces")
	for _, t := range namespaceTypes[1:] {
		if a.ns.join[t.flag] != "" {
			a.setns(p, t)
		}
	}
	unshare := a.ns.new & unix.CLONE_NEWCGROUP
	why := "now that it is in its cgroup, which becomes the namespace's root"
	if a.ns.join[unix.CLONE_NEWUSER] != "" {
		unshare, why = a.ns.new&^unix.CLONE_NEWTIME, "owned by the user namespace that was joined"
	}
	if unshare != 0 {
		p.Call("unshare", unix.SYS_UNSHARE, "", why, child.Flags("flags", unshare, child.CloneFlags(unshare)))
	}
	if a.ns.join[unix.CLONE_NEWPID] != "" || unshare&unix.CLONE_NEWPID != 0 {
		p.Fork("only a new process is in the PID namespace")
	}
	if a.needsLinks() && a.netnsLater() {
		p.Phase("wait for the parent")
		p.Sync(syncJoined, "links for the network namespace that is there now")
	}
}

// hideMemory comes before the child is where processes of a container's could see it: it has files of the host's open
// (CVE-2016-9962). It comes after what the parent writes to the child's files in /proc, which are
// root's from here on.
func hideMemory(p *child.Program) {
	p.Phase("keep others from looking into it")
	p.Call("prctl", unix.SYS_PRCTL, "PR_SET_DUMPABLE", "processes in the namespaces that it joins may neither trace it nor open its files",
		child.Int("option", unix.PR_SET_DUMPABLE), child.Int("2", 0), child.Int("3", 0), child.Int("4", 0), child.Int("5", 0))
}

// becomeRoot takes the identity that has all rights in a user namespace.
func becomeRoot(p *child.Program) {
	p.Phase("become root of the user namespace")
	p.Call("setresgid", unix.SYS_SETRESGID, "", "", child.Int("rgid", 0), child.Int("egid", 0), child.Int("sgid", 0))
	p.Call("setresuid", unix.SYS_SETRESUID, "", "", child.Int("ruid", 0), child.Int("euid", 0), child.Int("suid", 0))
}

func (a *assembly) setns(p *child.Program, t namespaceType) {
	path := a.ns.join[t.flag]
	file := p.Late("fd", path, func() (*os.File, error) { return openNamespace(path, t) })
	p.Call("setns", unix.SYS_SETNS, path, "", file, child.Flags("type", t.flag, child.CloneFlags(t.flag)))
}

// needsBorn tells whether the parent has something to do right after the child's birth.
func (a *assembly) needsBorn() bool {
	return a.ns.new&unix.CLONE_NEWUSER != 0 || a.spec.Config.Process.OOMScoreAdj != nil || a.rdt != nil || len(a.process.raised) > 0 ||
		a.needsLinks() && !a.netnsLater()
}

// needsLinks tells whether the parent has something to do in the container's network namespace.
func (a *assembly) needsLinks() bool { return a.spec.Prepare != nil || len(a.netDevices) > 0 }

// netnsLater tells of a child that is not born into its network namespace, as that has to belong to a user namespace that it
// joins first.
func (a *assembly) netnsLater() bool {
	return a.ns.new&unix.CLONE_NEWNET != 0 && a.ns.join[unix.CLONE_NEWUSER] != ""
}

// names are the host name and the domain name, and the loopback link of a network of its own.
func (a *assembly) names(p *child.Program) {
	c := a.spec.Config
	if c.Hostname != "" {
		p.Phase("set the host name")
		p.Call("sethostname", unix.SYS_SETHOSTNAME, c.Hostname, "", p.Bytes("name", []byte(c.Hostname), c.Hostname), child.Int("size", len(c.Hostname)))
	}
	if c.Domainname != "" {
		p.Phase("set the domain name")
		p.Call("setdomainname", unix.SYS_SETDOMAINNAME, c.Domainname, "", p.Bytes("name", []byte(c.Domainname), c.Domainname), child.Int("size", len(c.Domainname)))
	}
	if a.ns.new&unix.CLONE_NEWNET != 0 {
		p.Phase("bring up the loopback link")
		r := p.Reg()
		p.Call("socket", unix.SYS_SOCKET, "", "any socket will do to speak to the links", child.Flags("domain", unix.AF_INET, "AF_INET"),
			child.Flags("type", unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), child.Int("protocol", 0)).Into(r)
		request := make([]byte, 40) // struct ifreq: ifr_name, ifr_flags
		copy(request, "lo")
		binary.LittleEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
		p.Call("ioctl", unix.SYS_IOCTL, "SIOCSIFFLAGS", "", child.From("fd", r), child.Flags("request", unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"),
			p.Bytes("ifreq", request, "{lo IFF_UP|IFF_RUNNING}"))
		p.Close(r)
	}
}

// takeTerminal opens a terminal in the container's devpts, or takes one of the host's, and gives the parent its master.
func (a *assembly) takeTerminal(p *child.Program) {
	master, slave, ok := a.root.Pty(p)
	if !ok {
		p.Check(fmt.Errorf("%w: process.terminal without a mount of type devpts on /dev/pts", ErrInvalid))
		return
	}
	p.Phase("give the parent the terminal's master")
	sendTerminal(p, master)
	a.root.Console(p, slave)
	a.process.terminal(p, slave)
	p.Close(slave)
	p.Close(master)
}

// makeCwd makes the working folder if the root file system has none, as docker's users expect.
func (a *assembly) makeCwd(p *child.Program) {
	p.Phase("make the working folder")
	made := ""
	for _, part := range splitPath(a.spec.Config.Process.Cwd) {
		made += "/" + part
		p.Mkdirat(child.AtCwd, made, 0o755, "").Accept(unix.EROFS, unix.EACCES, unix.EPERM, unix.ENOENT, unix.ENOTDIR)
	}
}

// waitForStart tells the parent that all is done but the command, and waits on a pipe: whoever writes to it need not be
// the parent, who may be gone by then.
func (a *assembly) waitForStart(p *child.Program) {
	p.Phase("wait for start")
	status := p.Late("status", failedFIFO, func() (*os.File, error) { return duplicate(a.failed) })
	p.Call("fcntl", unix.SYS_FCNTL, failedFIFO, "where it tells start if the command cannot be executed", status, child.Flags("cmd", unix.F_GETFD, "F_GETFD"))
	p.Sync(syncCreated, "the container is created")
	p.MoveStatus(status)
	start := p.Late("fd", startFIFO, func() (*os.File, error) { return duplicate(a.started) })
	p.Call("read", unix.SYS_READ, startFIFO, "start writes a byte", start, p.Bytes("buf", make([]byte, 1), "1 byte"), child.Int("size", 1))
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// before is what a thread can choose for the process that it makes: its time namespace.
func (a *assembly) before() func() error {
	if a.ns.new&unix.CLONE_NEWTIME == 0 {
		return nil
	}
	return func() error {
		if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
			return fmt.Errorf("unshare CLONE_NEWTIME: %w", err)
		}
		for _, line := range a.timeOffsets() {
			if err := os.WriteFile("/proc/thread-self/timens_offsets", []byte(line), 0); err != nil {
				return fmt.Errorf("linux.timeOffsets %s: %w", line, err)
			}
		}
		return nil
	}
}

// timeOffsets are linux.timeOffsets as time_namespaces(7) has them.
func (a *assembly) timeOffsets() []string {
	var lines []string
	offsets := a.spec.Config.Linux.TimeOffsets
	for _, clock := range slices.Sorted(maps.Keys(offsets)) {
		lines = append(lines, fmt.Sprintf("%s %d %d", clock, offsets[clock].Secs, offsets[clock].Nanosecs))
	}
	return lines
}
