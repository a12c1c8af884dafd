package box

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container"
)

// ExecOptions are one more command for a box that runs.
type ExecOptions struct {
	Command []string
	TTY     bool
	Env     []string
	User    string // empty is the box's own
	Workdir string
}

// Execution is a command that Exec has started.
type Execution struct {
	*container.Process
	box *Record
	id  string
}

// Exec starts the command. It is this process's child, so that it can be waited for.
func (r *Record) Exec(ctx context.Context, o ExecOptions, t Streams) (*Execution, error) {
	c, err := r.running()
	if err != nil {
		return nil, err
	}
	if r.Status() == Paused {
		return nil, fmt.Errorf("container is paused: %s; tandem unpause %s lets it go on", r.Name, r.Name)
	}
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	p := *config.Process
	p.Args, p.Terminal, p.ConsoleSize, p.Rlimits = o.Command, o.TTY, nil, r.Options.Ulimits
	p.Env = MergeEnv(p.Env, o.Env)
	if o.TTY {
		p.Env = MergeEnv([]string{"TERM=xterm"}, p.Env)
	}
	if t.ConsoleSize[0] != 0 && o.TTY {
		p.ConsoleSize = &specs.Box{Height: uint(t.ConsoleSize[0]), Width: uint(t.ConsoleSize[1])}
	}
	if o.Workdir != "" {
		if !path.IsAbs(o.Workdir) {
			return nil, wrong("--workdir %q is not absolute", o.Workdir)
		}
		p.Cwd = o.Workdir
	}
	if o.User != "" {
		if err := r.execUser(&p, o.User); err != nil {
			return nil, err
		}
	}
	e := &Execution{box: r, id: newID()}
	e.tell("exec_create: " + strings.Join(o.Command, " "))
	e.Process, err = c.Exec(ctx, &container.ExecSpec{Process: &p, Stdin: t.Stdin, Stdout: t.Stdout, Stderr: t.Stderr, Console: t.Console})
	if err != nil {
		return nil, err
	}
	e.tell("exec_start: " + strings.Join(o.Command, " "))
	return e, nil
}

func (e *Execution) tell(action string, attributes ...string) {
	e.box.tell(action, append(attributes, "execID", e.id)...)
}

// Wait waits for the command's end. Of one that nobody waits for nobody tells how it ended.
func (e *Execution) Wait() (syscall.WaitStatus, error) {
	status, err := e.Process.Wait()
	if err == nil {
		e.tell("exec_die", "exitCode", strconv.Itoa(ExitStatus(status)))
	}
	return status, err
}

// Detached says that the command was left by its keys.
func (e *Execution) Detached() { e.tell("exec_detach") }

// execUser looks the user up in the box's files as they are now.
func (r *Record) execUser(p *specs.Process, word string) (err error) {
	if p.User, err = LookupUser([]string{fmt.Sprintf("/proc/%d/root", r.PID)}, word, r.Options.Groups); err != nil {
		return err
	}
	bounding := p.Capabilities.Bounding
	p.Capabilities = &specs.LinuxCapabilities{Bounding: bounding}
	if p.User.UID == 0 {
		p.Capabilities.Permitted, p.Capabilities.Effective = bounding, bounding
	}
	return nil
}
