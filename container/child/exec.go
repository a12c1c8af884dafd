package child

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Command is what the child becomes.
type Command struct {
	Args []string
	Env  []string
	// Path are the folders to look for Args[0] in, if it has no slash. They are looked up by the child, in its own root.
	Path []string
	// Preserve is the number of descriptors from 3 on that the command inherits.
	Preserve int
	// Filter, if not nil, is a seccomp filter that is loaded last of all, so that it stands in no one's way but the
	// command's. It needs no_new_privs, or CAP_SYS_ADMIN.
	Filter []unix.SockFilter
	// FilterFlags are seccomp(2)'s.
	FilterFlags uint
}

// FindCommand looks for the command's file, and leaves its path where Exec takes it. What is not there, or not
// executable, fails here, before anything is waited for.
//
// Each candidate is asked for with faccessat2(2), so that what decides are the child's rights at this point.
func (p *Program) FindCommand(c Command) *Found {
	if len(c.Args) == 0 || c.Args[0] == "" {
		p.fail("no command")
		return &Found{command: c}
	}
	candidates := []string{c.Args[0]}
	if !strings.Contains(c.Args[0], "/") {
		candidates = nil
		for _, dir := range c.Path {
			candidates = append(candidates, path.Join("/", dir, c.Args[0]))
		}
	}
	return p.find(candidates, c)
}

// FindFile is FindCommand for a command whose file's path is not its first argument.
func (p *Program) FindFile(path string, c Command) *Found { return p.find([]string{path}, c) }

func (p *Program) find(candidates []string, c Command) *Found {
	f := &Found{command: c}
	p.Phase("look for %s", c.Args[0])
	f.argv, f.envp, f.path = p.vector("argument", c.Args), p.vector("environment", c.Env), p.Reg()
	found := p.Label()
	for i, candidate := range candidates {
		address := p.cstring("path", candidate)
		try := p.Call("faccessat2", unix.SYS_FACCESSAT2, candidate, "look for the command", AtCwd,
			hidden(arg("path", address, nil)), Flags("mode", unix.X_OK, "X_OK"), Flags("flags", unix.AT_EACCESS, "AT_EACCESS"))
		after := p.Label()
		if i < len(candidates)-1 {
			for _, e := range []unix.Errno{unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP} {
				try.Else(e, after)
			}
		}
		p.Set(f.path, uint64(address))
		p.Jump(found)
		p.Bind(after)
	}
	if len(candidates) == 0 {
		p.fail("command %q: no folder to look for it in", c.Args[0])
	}
	p.Bind(found)
	return f
}

// Found is a command whose file has been looked for.
type Found struct {
	command    Command
	argv, envp uintptr
	path       Reg
}

// Exec executes the command. All descriptors but the standard ones and those to be preserved are closed by it.
//
// Who executes it is the stub, see machine.go. So /proc/self/exe is at no time, when the container's own files decide what
// runs, the file of the runtime: a script that begins with "#!/proc/self/exe" finds that small program, in memory, sealed
// (CVE-2019-5736).
func (p *Program) Exec(f *Found) {
	if f.argv == 0 {
		return
	}
	c := f.command
	p.preserve = c.Preserve
	p.Phase("execute %s", c.Args[0])
	if !p.closed {
		p.CloseOnExec(3 + p.preserve)
	}
	if c.Filter != nil {
		p.Call("seccomp", unix.SYS_SECCOMP, "SECCOMP_SET_MODE_FILTER", "last of all, so that nothing of ours has to pass the filter",
			Flags("operation", unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), Int("flags", int(c.FilterFlags)),
			p.Filter("filter", c.Filter))
	}
	p.Call("execve", unix.SYS_EXECVE, c.Args[0], "", hidden(From("path", f.path)), arg("argv", f.argv, quoted(c.Args)),
		arg("envp", f.envp, variables(len(c.Env))))
}

// CloseOnExec lets the descriptors from first on end with the next exec. Exec does the same, if it has not been done
// before: for a child that loads a seccomp filter, whose profile may be older than the system call.
func (p *Program) CloseOnExec(first int) {
	p.Call("close_range", unix.SYS_CLOSE_RANGE, "", "nothing of the runtime's stays open in the container",
		Int("first", first), Flags("last", 1<<32-1, "~0"), Flags("flags", unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"))
	p.closed = true
}
