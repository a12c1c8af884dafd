package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/container/seccomp"
)

// Exec starts one more process in the container.
func (c *Container) Exec(ctx context.Context, s *ExecSpec) (*Process, error) {
	p, err := c.exec(ctx, s)
	return p, c.wrap("exec", err)
}

func (c *Container) exec(ctx context.Context, s *ExecSpec) (*Process, error) {
	status, err := c.status()
	switch {
	case err != nil:
		return nil, err
	case status == StatePaused && !s.IgnorePaused:
		return nil, ErrPaused
	case status == specs.StateStopped || status == specs.StateCreating:
		return nil, fmt.Errorf("%w, but %s", ErrNotRunning, status)
	}
	pidFD, err := c.pidFD()
	if err != nil {
		return nil, err
	}
	defer pidFD.Close()
	x, err := c.execProcess(s)
	if err != nil {
		return nil, err
	}
	p := child.New()
	p.Untold()
	if err := c.writeExec(p, s, x, pidFD); err != nil {
		return nil, err
	}
	started, err := p.Start(child.Options{})
	if err != nil {
		return nil, err
	}
	if err := c.attend(ctx, started, s, x); err != nil {
		return nil, errors.Join(err, ignoreGone(started.Kill()), started.Close())
	}
	return &Process{started}, nil
}

// execProcess takes from the container's configuration what the process does not say.
func (c *Container) execProcess(s *ExecSpec) (*identity, error) {
	if s.Process == nil {
		return nil, invalid("process is missing")
	}
	if err := checkProcess(s.Process); err != nil {
		return nil, err
	}
	caps, err := parseCapabilities(s.Process.Capabilities, func(string, ...any) {})
	if err != nil {
		return nil, err
	}
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	l := config.Linux
	ns, err := parseNamespaces(l.Namespaces)
	if err != nil {
		return nil, err
	}
	process := *s.Process
	inheritLabels(&process, config.Process)
	if err := unsupported(&specs.Spec{Process: &process}); err != nil {
		return nil, err
	}
	if process.ExecCPUAffinity == nil && s.path == "" {
		process.ExecCPUAffinity = config.Process.ExecCPUAffinity
	}
	cpus, err := parseAffinity(process.ExecCPUAffinity)
	if err != nil {
		return nil, err
	}
	x := &identity{Process: &process, raised: raised(ns, process.Rlimits), cpus: cpus, caps: caps, linux: l}
	x.env = withHome(s.Process, []string{fmt.Sprintf("/proc/%d/root", c.state.Init.PID)})
	x.setIDs = maySetGroups(ns, s.Process.User.AdditionalGids)
	if c.state.OwnKeys {
		x.keyring = keyringName(c.state.ID)
	}
	if l.Seccomp != nil {
		if x.filter, err = seccomp.Compile(l.Seccomp); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (c *Container) writeExec(p *child.Program, s *ExecSpec, x *identity, pidFD *os.File) error {
	x.cpus.startOn(p, x.ExecCPUAffinity)
	if err := c.joinExec(p, s); err != nil {
		return err
	}
	x.cpus.goOn(p, x.ExecCPUAffinity)
	config, err := c.Config()
	if err != nil {
		return err
	}
	ns, err := parseNamespaces(config.Linux.Namespaces)
	if err != nil {
		return err
	}
	if len(x.raised) > 0 || s.Process.OOMScoreAdj != nil || c.state.RDT != nil {
		p.Sync(syncBorn, "what only the parent may do: limits, the OOM score, the class of service")
	}
	joinAll(p, pidFD, ns.own())
	if !ns.has(unix.CLONE_NEWNS) {
		path := fmt.Sprintf("/proc/%d/root", c.state.Init.PID)
		root := p.Late("fd", path, func() (*os.File, error) { return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0) })
		p.Call("fchdir", unix.SYS_FCHDIR, path, "the mount namespace is the host's", root)
		p.Chroot(".", "and the root the container's")
	}
	if ns.has(unix.CLONE_NEWUSER) {
		becomeRoot(p)
	}
	x.early(p)
	if x.Terminal {
		c.execTerminal(p, x)
	} else {
		x.stdio(p, [3]*os.File{s.Stdin, s.Stdout, s.Stderr})
	}
	p.Exec(x.late(p, s.PreserveFDs, func() *child.Found {
		if s.path != "" {
			return p.FindFile(s.path, x.command(0))
		}
		return p.FindCommand(x.command(s.PreserveFDs))
	}))
	return nil
}

// execTerminal opens a terminal in the devpts that the container has on /dev/pts. It is opened through nothing that the
// container could have put there: no link is followed, and it has to be a devpts.
func (c *Container) execTerminal(p *child.Program, x *identity) {
	p.Phase("open a terminal")
	_, pts := p.Openat2(child.AtCwd, "/dev/pts", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY, Resolve: unix.RESOLVE_NO_SYMLINKS}, "")
	p.ExpectFS(pts, "/dev/pts", unix.DEVPTS_SUPER_MAGIC, unix.ENOTTY, "the container's own, and no other")
	_, master := p.Openat2(child.From("dir", pts), "ptmx", unix.OpenHow{
		Flags: unix.O_RDWR | unix.O_NOCTTY, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV,
	}, "")
	p.UnlockPty(master, "its other end may be opened")
	_, slave := p.PtyPeer(master, "its other end, whatever its name leads to")
	sendTerminal(p, master)
	x.terminal(p, slave)
	p.Close(slave)
	p.Close(master)
	p.Close(pts)
}

// attend answers the child until it has executed the command.
func (c *Container) attend(ctx context.Context, p *child.Process, s *ExecSpec, x *identity) error {
	for {
		name, err := p.Next(ctx)
		pid := p.PID
		switch {
		case isEOF(err):
			if s.PIDFile != "" {
				return pidFileStep(s.PIDFile, &pid).Do()
			}
			return nil
		case err != nil:
			return err
		case name == syncBorn:
			err = c.attendBorn(s, x, pid)
		case name == syncTerminal:
			err = terminalStep(s.Process, s.ConsoleSocket, s.Console, func() *child.Process { return p }).Do()
		case name == syncListener:
			var f *os.File
			if f, err = listener(p); err == nil {
				a := &assembly{process: x, state: c.state, pid: pid}
				err = errors.Join(a.sendListener(ctx, f), f.Close())
			}
		}
		if err != nil {
			return err
		}
		if err := p.Go(); err != nil {
			return err
		}
	}
}

func (c *Container) attendBorn(s *ExecSpec, x *identity, pid int) error {
	for _, r := range x.raised {
		if err := raise(pid, r); err != nil {
			return err
		}
	}
	if score := s.Process.OOMScoreAdj; score != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(*score)), 0); err != nil {
			return err
		}
	}
	return c.joinRDT(pid)
}

// runInside runs a hook as a process of the container's.
func (c *Container) runInside(ctx context.Context, hook specs.Hook) error {
	config, err := c.Config()
	if err != nil {
		return err
	}
	own := *config.Process
	own.Args, own.Env, own.Terminal = hookArgs(hook), hook.Env, false
	own.OOMScoreAdj, own.ExecCPUAffinity = nil, nil
	state := c.state.specState(specs.StateCreated, insidePID(c.state.Init.PID))
	return attendHook(ctx, hook, state, func(ctx context.Context, stdin *os.File) (*child.Process, error) {
		p, err := c.exec(ctx, &ExecSpec{Process: &own, Stdin: stdin, path: hook.Path})
		if err != nil {
			return nil, err
		}
		return p.child, nil
	})
}
