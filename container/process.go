package container

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/container/seccomp"
)

// identity adds to a program what makes its child the container's process: rights, limits, identity, working folder. The
// same serves a container's first process and one that is started in it later.
type identity struct {
	*specs.Process
	caps    capabilities
	cpus    affinity // of a process that is started in a container that runs
	raised  []specs.POSIXRlimit
	filter  *seccomp.Filter
	env     []string
	setIDs  bool   // whether setgroups(2) is possible
	keyring string // a name for a new session keyring, see keyringName, or empty
	linux   *specs.Linux
}

// keyringName is the name of a container's session keyring, see session-keyring(7). A process that is started in the
// container later gets another one of that name: to find the first by its name, others would have to be let into it.
func keyringName(id string) string { return "_ses." + id }

// early is what has to be done while the child is still root on the host's terms.
func (x *identity) early(p *child.Program) {
	p.Phase("become a session of its own")
	p.Call("setsid", unix.SYS_SETSID, "", "no terminal of the caller's, and signals from its keys, reach it").Accept(unix.EPERM)
	if x.keyring != "" {
		x.labelKeys(p)
		p.Call("keyctl", unix.SYS_KEYCTL, x.keyring, "a session keyring of its own: the caller's keys stay the caller's",
			child.Flags("operation", unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), p.Str("name", x.keyring)).
			Accept(unix.ENOSYS, unix.EPERM)
	}
	if len(x.Rlimits) > 0 {
		p.Phase("set resource limits")
	}
	for _, r := range x.Rlimits {
		if r.Type != ownLimit {
			limit(p, r, "")
		}
	}
	x.scheduling(p)
	x.memoryPolicy(p)
}

// terminal makes the terminal that is open in a register the process's standard files, and its controlling terminal.
func (x *identity) terminal(p *child.Program, slave child.Reg) {
	p.Phase("take the terminal")
	for fd := range 3 {
		p.Call("dup3", unix.SYS_DUP3, "", "", child.From("old", slave), child.Int("new", fd), child.Int("flags", 0))
	}
	p.Call("ioctl", unix.SYS_IOCTL, "TIOCSCTTY", "its keys send signals to the container's session", child.Int("fd", 0),
		child.Flags("request", unix.TIOCSCTTY, "TIOCSCTTY"), child.Int("steal", 0))
}

// stdio makes the parent's files the process's standard files.
func (x *identity) stdio(p *child.Program, files [3]*os.File) {
	if files == [3]*os.File{} {
		return
	}
	p.Phase("take the standard files")
	for fd, f := range files {
		if f == nil {
			continue
		}
		// A copy above the standard ones, so that none of them is written over before it was read.
		arg := p.Late("old", f.Name(), func() (*os.File, error) {
			high, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				return nil, os.NewSyscallError("fcntl", err)
			}
			return os.NewFile(uintptr(high), f.Name()), nil
		})
		p.Call("dup3", unix.SYS_DUP3, stdioNames[fd], "", arg, child.Int("new", fd), child.Int("flags", 0))
	}
}

// scheduling is sched_setattr(2), ioprio_set(2), personality(2) and CPU affinity.
func (x *identity) scheduling(p *child.Program) {
	if s := x.Scheduler; s != nil {
		attr, err := schedAttr(s)
		p.Phase("set the scheduling policy")
		p.Check(err)
		p.Call("sched_setattr", unix.SYS_SCHED_SETATTR, string(s.Policy), "", child.Int("pid", 0), p.Bytes("attr", attr, fmt.Sprintf("%+v", *s)), child.Int("flags", 0))
	}
	if i := x.IOPriority; i != nil {
		class, known := map[specs.IOPriorityClass]int{
			specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3,
		}[i.Class]
		p.Phase("set the I/O priority")
		if !known || i.Priority < 0 || i.Priority > 7 {
			p.Check(invalid("process.ioPriority: class %q, priority %d", i.Class, i.Priority))
		}
		const whoProcess, classShift = 1, 13
		p.Call("ioprio_set", unix.SYS_IOPRIO_SET, string(i.Class), "", child.Flags("which", whoProcess, "IOPRIO_WHO_PROCESS"),
			child.Int("who", 0), child.Flags("priority", uint64(class<<classShift|i.Priority), fmt.Sprint(i.Priority)))
	}
	if x.linux != nil && x.linux.Personality != nil {
		const linux32 = 0x0008
		domains := map[specs.LinuxPersonalityDomain]int{specs.PerLinux: 0, specs.PerLinux32: linux32}
		domain, known := domains[x.linux.Personality.Domain]
		p.Phase("set the personality")
		if !known || len(x.linux.Personality.Flags) > 0 {
			p.Check(invalid("linux.personality: domain %q, flags %q", x.linux.Personality.Domain, x.linux.Personality.Flags))
		}
		p.Call("personality", unix.SYS_PERSONALITY, string(x.linux.Personality.Domain), "", child.Int("persona", domain))
	}
}

// late is what makes the process the container's user: from here on it has no rights over the host. It looks for the
// command too, by means of find.
//
// A filter is loaded right before the command is executed, so that it filters nothing but the command. One that needs
// CAP_SYS_ADMIN, or a parent who takes the listener, cannot wait so long: it comes before the rights go, and after all
// that a profile may well refuse (getcwd, faccessat2, close_range).
func (x *identity) late(p *child.Program, preserve int, find func() *child.Found) *child.Found {
	x.label(p)
	x.caps.dropBounding(p)
	cwd := path.Clean(x.Cwd)
	went := x.goTo(p, cwd)
	x.ownStdio(p)
	for _, r := range x.Rlimits {
		if r.Type == ownLimit {
			p.Phase("limit open files")
			limit(p, r, "now that all is open that has to be, and as long as there is the right to raise it")
		}
	}
	p.Phase("become user %d:%d", x.User.UID, x.User.GID)
	if x.User.UID != 0 {
		p.Call("prctl", unix.SYS_PRCTL, "PR_SET_KEEPCAPS", "capabilities are set below, not lost here",
			child.Int("option", unix.PR_SET_KEEPCAPS), child.Int("2", 1), child.Int("3", 0), child.Int("4", 0), child.Int("5", 0))
	}
	p.Call("umask", unix.SYS_UMASK, "", "", mode(x.umask()))
	if x.setIDs {
		var groups []byte
		for _, g := range x.User.AdditionalGids {
			groups = binary.LittleEndian.AppendUint32(groups, g)
		}
		p.Call("setgroups", unix.SYS_SETGROUPS, "", "", child.Int("size", len(x.User.AdditionalGids)), p.Bytes("list", groups, fmt.Sprint(x.User.AdditionalGids)))
	}
	p.Call("setgid", unix.SYS_SETGID, "", "", child.Int("gid", int(x.User.GID)))
	p.Call("setuid", unix.SYS_SETUID, "", "", child.Int("uid", int(x.User.UID)))
	x.goToAsUser(p, cwd, went)
	p.ExpectInRoot("a folder of the host's that stayed open would show here (CVE-2024-21626)")
	var found *child.Found
	if x.filter != nil && (x.filter.Notify || !x.NoNewPrivileges) {
		found = find()
		p.CloseOnExec(3 + preserve)
		if x.User.UID != 0 {
			x.caps.raise(p)
		}
		x.loadFilter(p)
	}
	x.caps.set(p)
	if x.NoNewPrivileges {
		p.Call("prctl", unix.SYS_PRCTL, "PR_SET_NO_NEW_PRIVS", "set-user-ID files give it nothing",
			child.Int("option", unix.PR_SET_NO_NEW_PRIVS), child.Int("2", 1), child.Int("3", 0), child.Int("4", 0), child.Int("5", 0))
	}
	if found == nil {
		found = find()
	}
	return found
}

// goTo changes to the working folder as root, who may go where the user may not. The word tells whether that went well.
func (x *identity) goTo(p *child.Program, cwd string) (went child.Reg) {
	p.Phase("go to %s", cwd)
	went = p.Reg()
	denied := p.Label()
	p.Set(went, 0)
	p.Call("chdir", unix.SYS_CHDIR, cwd, "as root, who may go where the user may not", p.Str("path", cwd)).Else(unix.EACCES, denied)
	p.Set(went, 1)
	p.Bind(denied)
	return went
}

// goToAsUser is for where root may not go, and the user may: NFS. One of the two has to go well.
func (x *identity) goToAsUser(p *child.Program, cwd string, went child.Reg) {
	denied, done := p.Label(), p.Label()
	p.Call("chdir", unix.SYS_CHDIR, cwd, "as the user, who may go where root may not", p.Str("path", cwd)).Else(unix.EACCES, denied)
	p.Jump(done)
	p.Bind(denied)
	p.Unless(p.Result("went as root", went), 1, 0, done)
	p.Fail("chdir "+cwd, unix.EACCES, "neither root nor the user may go there")
	p.Bind(done)
}

// ownStdio gives the process the pipes, or the terminal, that its standard files are, so that it can open /proc/self/fd/1.
// Whatever else they are is the caller's, and stays his: a file that output goes to, or the host's /dev/null.
func (x *identity) ownStdio(p *child.Program) {
	p.Phase("own the standard files")
	for fd := range 3 {
		others := p.Label()
		if !x.Terminal {
			p.Call("fcntl", unix.SYS_FCNTL, stdioNames[fd], "is it open at all?", child.Int("fd", fd), child.Flags("cmd", unix.F_GETFD, "F_GETFD")).
				Else(unix.EBADF, others)
			r := p.Reg()
			p.Set(r, uint64(fd))
			stat := p.Fstat(r, stdioNames[fd], "a pipe, or a file of somebody's?")
			p.Unless(stat.Mode, unix.S_IFMT, unix.S_IFIFO, others)
		}
		p.Call("fchown", unix.SYS_FCHOWN, stdioNames[fd], "", child.Int("fd", fd), child.Int("uid", int(x.User.UID)), child.Int("gid", -1)).
			Accept(unix.EINVAL, unix.EPERM, unix.EOVERFLOW) // users that the namespace, or the caller, does not have
		p.Bind(others)
	}
}

var stdioNames = [3]string{"stdin", "stdout", "stderr"}

// syncListener is where the parent fetches the descriptor of a filter that asks.
const syncListener = "seccomp listener"

func (x *identity) loadFilter(p *child.Program) {
	p.Phase("load the seccomp filter")
	r := p.Reg()
	call := p.Call("seccomp", unix.SYS_SECCOMP, "SECCOMP_SET_MODE_FILTER", "without no_new_privs it needs CAP_SYS_ADMIN, so it comes before that goes",
		child.Flags("operation", unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), child.Int("flags", int(x.filter.Flags)),
		p.Filter("filter", x.filter.Program))
	if !x.filter.Notify {
		return
	}
	call.Into(r)
	const why = "the parent gives the listener to who answers"
	if x.maySend() {
		p.Send("seccomp listener", r, why)
		p.Sync(syncListener, why)
	} else {
		p.SyncValue(syncListener, why+", and fetches it, as the filter is against sendmsg", r)
	}
	p.Close(r)
}

// maySend tells whether the process can hand the listener out once the filter is loaded. To have it fetched takes a parent with
// rights over the process, which whoever is not root has not: its user is another, of the user namespace's.
func (x *identity) maySend() bool {
	switch x.filter.Evaluate(seccomp.Data{NR: unix.SYS_SENDMSG, Arch: unix.AUDIT_ARCH_X86_64}) {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG:
		return true
	}
	return false
}

// command is what the child executes in the end.
func (x *identity) command(preserve int) child.Command {
	c := child.Command{Args: x.Args, Env: x.env, Path: x.path(), Preserve: preserve}
	if x.filter != nil && !x.filter.Notify && x.NoNewPrivileges {
		c.Filter, c.FilterFlags = x.filter.Program, x.filter.Flags
	}
	return c
}

func (x *identity) umask() uint32 {
	if x.User.Umask != nil {
		return *x.User.Umask
	}
	return 0o022
}

func mode(m uint32) child.Arg { return child.Flags("mask", uint64(m), fmt.Sprintf("%#o", m)) }

// path is where the command is looked for: in the process's own PATH.
func (x *identity) path() []string {
	for _, e := range x.env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			return strings.Split(value, ":")
		}
	}
	return strings.Split(defaultPath, ":")
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// schedAttr is struct sched_attr, see sched_setattr(2).
func schedAttr(s *specs.Scheduler) ([]byte, error) {
	policies := map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedISO: 4, specs.SchedIdle: 5,
		specs.SchedDeadline: 6,
	}
	flagBits := map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: 1, specs.SchedFlagReclaim: 2, specs.SchedFlagDLOverrun: 4, specs.SchedFlagKeepPolicy: 8,
		specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
	}
	policy, known := policies[s.Policy]
	if !known {
		return nil, invalid("process.scheduler.policy %q", s.Policy)
	}
	flags := uint64(0)
	for _, f := range s.Flags {
		bit, known := flagBits[f]
		if !known {
			return nil, invalid("process.scheduler.flags %q", f)
		}
		flags |= bit
	}
	const size = 48
	b := binary.LittleEndian.AppendUint32(nil, size)
	b = binary.LittleEndian.AppendUint32(b, policy)
	b = binary.LittleEndian.AppendUint64(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Nice))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Priority))
	b = binary.LittleEndian.AppendUint64(b, s.Runtime)
	b = binary.LittleEndian.AppendUint64(b, s.Deadline)
	return binary.LittleEndian.AppendUint64(b, s.Period), nil
}
