package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem/container"
)

func newExecCommand(g *global) *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] ID COMMAND [ARG]... | exec [flags] --process FILE ID",
		Short: "Run one more process in a container",
		Long: "Runs a process in a container, as the container's own in all that the flags don't say, and ends with its\n" +
			"status. What keeps it from running has exit status 255.",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usageError(cmd, "the container's ID is missing")
			case len(args) == 1 && f.process == "":
				return usageError(cmd, "the command is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := g.exec(cmd.Context(), cmd, &f, args[0], args[1:])
			var status exitStatus
			if err == nil || errors.As(err, &status) {
				return err
			}
			return &failure{statusExecFailed, err}
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the ID is the command's
	f.register(cmd.Flags())
	return cmd
}

type execFlags struct {
	process, consoleSocket, pidFile, pidfdSocket string
	cwd, user, label, apparmor                   string
	env, caps, cgroups, gids                     []string
	tty, detach, noNewPrivs, ignorePaused        bool
	preserveFDs                                  int
}

func (f *execFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.process, "process", "p", "", "read the process from `FILE`: JSON, as config.json has it")
	flags.StringVar(&f.consoleSocket, "console-socket", "", "send the terminal's master to the Unix socket `PATH`")
	flags.StringVar(&f.pidFile, "pid-file", "", "write the process's number to `FILE`")
	flags.StringVar(&f.pidfdSocket, "pidfd-socket", "", "send a descriptor of the process to the Unix socket `PATH`")
	flags.StringVar(&f.cwd, "cwd", "", "start in the folder `DIR` of the container")
	flags.StringVarP(&f.user, "user", "u", "", "run as `UID[:GID]`")
	flags.StringSliceVarP(&f.gids, "additional-gids", "g", nil, "be in the group `GID` too")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set a variable, `NAME=VALUE`")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give it a terminal")
	flags.BoolVarP(&f.detach, "detach", "d", false, "leave it running")
	flags.StringVar(&f.label, "process-label", "", "the SELinux `LABEL` of the process")
	flags.StringVar(&f.apparmor, "apparmor", "", "the AppArmor `PROFILE` of the process")
	flags.BoolVar(&f.noNewPrivs, "no-new-privs", false, "let no program give it rights (set-uid and the like)")
	flags.StringArrayVarP(&f.caps, "cap", "c", nil, "add the capability `CAP`")
	flags.IntVar(&f.preserveFDs, "preserve-fds", 0, "pass on `N` descriptors, from 3 on (behind those of LISTEN_FDS)")
	flags.StringArrayVar(&f.cgroups, "cgroup", nil, "run it in the cgroup `[CONTROLLER:]PATH` below the container's")
	flags.BoolVar(&f.ignorePaused, "ignore-paused", false, "start it in a container that is paused: it waits")
}

func (g *global) exec(ctx context.Context, cmd *cobra.Command, f *execFlags, id string, command []string) error {
	c, err := g.load(id)
	if err != nil {
		return err
	}
	config, err := c.Config()
	if err != nil {
		return err
	}
	s, err := f.spec(config, command)
	if err != nil {
		return err
	}
	if f.detach {
		return execDetached(ctx, c, s, f)
	}
	t, err := newTerminal(s.Process, f.consoleSocket)
	if err != nil {
		return err
	}
	s.Console = t.attach
	held, err := holdSignals()
	if err != nil {
		return err
	}
	p, err := c.Exec(ctx, s)
	if err != nil {
		t.close()
		return err
	}
	status, err := accompany(p, t, held, f.pidfdSocket)
	t.close()
	return errors.Join(err, statusError(status))
}

func execDetached(ctx context.Context, c *container.Container, s *container.ExecSpec, f *execFlags) error {
	if err := checkDetachedTerminal(s.Process, f.consoleSocket); err != nil {
		return err
	}
	p, err := c.Exec(ctx, s)
	if err != nil {
		return err
	}
	defer p.Release()
	if f.pidfdSocket == "" {
		return nil
	}
	if err := sendPIDFD(p.PID(), f.pidfdSocket); err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

// spec is the process that the flags ask for.
func (f *execFlags) spec(config *specs.Spec, command []string) (*container.ExecSpec, error) {
	p, err := f.processOf(config, command)
	if err != nil {
		return nil, err
	}
	fds, err := preservedFDs(f.preserveFDs)
	if err != nil {
		return nil, err
	}
	fds.announce(p)
	cgroups, err := subCgroups(f.cgroups)
	if err != nil {
		return nil, err
	}
	return &container.ExecSpec{
		Process: p, ConsoleSocket: f.consoleSocket, PreserveFDs: fds.total, PIDFile: f.pidFile,
		Cgroups: cgroups, IgnorePaused: f.ignorePaused,
	}, nil
}

// processOf is the process of --process, or the container's own with what the flags change.
func (f *execFlags) processOf(config *specs.Spec, command []string) (*specs.Process, error) {
	if f.process != "" {
		return f.readProcess()
	}
	if config.Process == nil {
		return nil, errors.New("the container's configuration has no process to go by: give --process")
	}
	p := *config.Process
	p.Args, p.Terminal = command, f.tty
	p.Env = slices.Concat(p.Env, f.env)
	p.NoNewPrivileges = p.NoNewPrivileges || f.noNewPrivs
	set(&p.Cwd, f.cwd)
	set(&p.ApparmorProfile, f.apparmor)
	set(&p.SelinuxLabel, f.label)
	if f.user != "" {
		if err := parseUser(f.user, &p.User); err != nil {
			return nil, fmt.Errorf("--user: %w", err)
		}
	}
	p.User.AdditionalGids = slices.Clone(p.User.AdditionalGids)
	for _, text := range f.gids {
		gid, err := parseID(text)
		if err != nil {
			return nil, fmt.Errorf("--additional-gids: %w", err)
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, gid)
	}
	p.Capabilities = withCapabilities(p.Capabilities, f.caps)
	return &p, nil
}

func (f *execFlags) readProcess() (*specs.Process, error) {
	file, err := os.Open(f.process)
	if err != nil {
		return nil, fmt.Errorf("--process: %w", err)
	}
	defer file.Close()
	var p specs.Process
	if err := decode(file, &p); err != nil {
		return nil, fmt.Errorf("--process %s: %w", f.process, err)
	}
	p.Terminal = p.Terminal || f.tty // conmon gives both
	return &p, nil
}

func set(field *string, value string) {
	if value != "" {
		*field = value
	}
}
