package child

import (
	"fmt"
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
	// argv of the stub: the path, then the command's own argv.
	f.argv = p.vector("argument", 1, c.Args)
	f.envp = p.vector("environment", 0, c.Env)
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
		p.storeWord(&f.argv[0], address)
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
	argv, envp []uintptr
}

// Exec executes the command. All descriptors but the standard ones and those to be preserved are closed by it.
//
// It is not executed by the child itself, but by a program of a hundred bytes that the child executes first. So
// /proc/self/exe is at no time, when the container's own files decide what runs, the file of the runtime: a script that
// begins with "#!/proc/self/exe" finds that small program, in memory, sealed (CVE-2019-5736). See stub_amd64.go.
func (p *Program) Exec(f *Found) {
	if len(f.argv) == 0 {
		return
	}
	p.preserve = f.command.Preserve
	status := 3 + p.preserve
	p.Phase("execute %s", f.command.Args[0])
	p.Call("dup3", unix.SYS_DUP3, "", "the stub's socket, to tell that it failed", From("old", statusReg), Int("new", status), Int("flags", 0))
	if !p.closed {
		p.CloseOnExec(status + 1)
	}
	execveat := p.Call("execveat", unix.SYS_EXECVEAT, "stub", "so that /proc/self/exe is never the runtime's file",
		Arg{name: "fd", show: "stub"}, hidden(p.Str("path", "")),
		arg("argv", address(&f.argv[0]), fmt.Sprintf("%q", append([]string{"PATH"}, f.command.Args...))),
		arg("envp", address(&f.envp[0]), fmt.Sprintf("%d variables", len(f.command.Env))),
		Flags("flags", unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
	p.note("fcntl", "", "the stub: if execve succeeds, it closes the socket", Int("fd", status), Flags("cmd", unix.F_SETFD, "F_SETFD"),
		Flags("flags", unix.FD_CLOEXEC, "FD_CLOEXEC"))
	execveat.stub = &stub{fd: status, flags: f.command.FilterFlags, filter: f.command.Filter}
	if f.command.Filter != nil {
		p.note("seccomp", "SECCOMP_SET_MODE_FILTER", "the stub: last of all, so that nothing of ours has to pass the filter",
			Int("flags", int(f.command.FilterFlags)), Flags("args", 0, fmt.Sprintf("%d instructions", len(f.command.Filter))))
	}
	p.note("execve", f.command.Args[0], "the stub", Flags("argv", 0, fmt.Sprintf("%q", f.command.Args)))
	execveat.stub.number = uint32(p.Len())
}

// CloseOnExec lets the descriptors from first on end with the next exec. Exec does the same, if it has not been done
// before: for a child that loads a seccomp filter, whose profile may be older than the system call.
func (p *Program) CloseOnExec(first int) {
	p.Call("close_range", unix.SYS_CLOSE_RANGE, "", "nothing of the runtime's stays open in the container",
		Int("first", first), Flags("last", 1<<32-1, "~0"), Flags("flags", unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"))
	p.closed = true
}

// note is a call that somebody else does in the child's place.
func (p *Program) note(op, object, why string, args ...Arg) {
	p.add(Call{kind: kindNote, op: op, object: object, why: why, into: -1}, args...)
}
