package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/kernfile"
	"tandem/internal/plan"
	"tandem/internal/slack"
)

// prestart are hooks that the specification has put aside for createRuntime, and that are still in use.
func prestart(h *specs.Hooks) []specs.Hook {
	//lint:ignore SA1019 podman and others still use them
	return h.Prestart
}

func (a *assembly) hooksBeforeRoot() bool {
	h := a.spec.Config.Hooks
	return h != nil && len(prestart(h))+len(h.CreateRuntime)+len(h.CreateContainer) > 0
}

// mounted are the hooks that run while the host's files can still be reached from the container.
func (a *assembly) mounted() []plan.Phase {
	h := a.spec.Config.Hooks
	if h == nil {
		return nil
	}
	var phases []plan.Phase
	for _, list := range []struct {
		name   string
		hooks  []specs.Hook
		inside bool
	}{
		{"prestart", prestart(h), false},
		{"createRuntime", h.CreateRuntime, false},
		{"createContainer", h.CreateContainer, true},
	} {
		if len(list.hooks) == 0 {
			continue
		}
		phase := plan.Phase{Name: "parent: " + list.name + " hooks"}
		for i, hook := range list.hooks {
			phase.Steps = append(phase.Steps, plan.Step{
				Op: "execve", Object: hook.Path, Args: []plan.Arg{plan.A("args", hook.Args), plan.A("env", hook.Env)},
				Why: "hooks." + list.name,
				Do: func() error {
					a.hooked = true
					var err error
					if list.inside {
						state := a.state.specState(specs.StateCreating, insidePID(a.pid))
						err = runInside(a.context(), hook, state, a.child.PIDFD(), a.ns.own())
					} else {
						err = runHook(a.context(), hook, a.state.specState(specs.StateCreating, a.pid))
					}
					if err != nil {
						return fmt.Errorf("hooks.%s[%d]: %w", list.name, i, err)
					}
					return nil
				},
			})
		}
		phases = append(phases, phase)
	}
	return phases
}

// unhook runs the poststop hooks of a container that is not made to its end, if any other hook has run by then: what that
// has made is for these to take away (runtime.md, Lifecycle, steps 3 to 5 and 13).
func (a *assembly) unhook() {
	if !a.hooked {
		return
	}
	err := runAll(context.WithoutCancel(a.context()), "poststop", a.state.Poststop, a.state.specState(specs.StateStopped, 0))
	if err != nil {
		a.engine.warn("container %s: %v", a.spec.ID, err)
	}
}

// insidePID is a process's number in its own PID namespace, which is what hooks in there are told (runtime.md, State).
func insidePID(pid int) int {
	text, err := kernfile.Read(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return pid
	}
	_, rest, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	numbers := strings.Fields(line)
	if len(numbers) == 0 {
		return pid // a kernel without PID namespaces
	}
	inside, err := strconv.Atoi(numbers[len(numbers)-1])
	if err != nil {
		return pid
	}
	return inside
}

// hookContext ends when the hook's time is over.
func hookContext(ctx context.Context, hook specs.Hook) (context.Context, context.CancelFunc) {
	if hook.Timeout == nil {
		return ctx, func() {}
	}
	limit := time.Duration(*hook.Timeout) * time.Second
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
}

// runHook runs a hook on the host: the state on its standard input, and nothing of this process's environment.
func runHook(ctx context.Context, hook specs.Hook, state *specs.State) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	ctx, cancel := hookContext(ctx, hook)
	defer cancel()
	cmd := exec.CommandContext(ctx, hook.Path)
	cmd.Args = hookArgs(hook)
	cmd.Env, cmd.Dir = append([]string{}, hook.Env...), state.Bundle
	cmd.Stdin = bytes.NewReader(text)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	// One that has ended well may have left something running that has its output open.
	if err := runCommand(cmd); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return hookError(hook, err, out.String())
	}
	return nil
}

// runCommand is the command's Run, from a thread whose timer slack is the process's.
func runCommand(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	slack.GiveBack()
	err := cmd.Start()
	runtime.UnlockOSThread()
	if err != nil {
		return err
	}
	return cmd.Wait()
}

func hookError(hook specs.Hook, err error, said string) error {
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("%s: %w; it said: %s", hook.Path, err, said)
	}
	return fmt.Errorf("%s: %w", hook.Path, err)
}

func hookArgs(hook specs.Hook) []string {
	if len(hook.Args) == 0 {
		return []string{hook.Path}
	}
	return hook.Args
}

// runInside runs a hook in the container's namespaces, before its root is closed: the path is still one of the host's.
func runInside(ctx context.Context, hook specs.Hook, state *specs.State, pidFD *os.File, namespaces uint64) error {
	return attendHook(ctx, hook, state, func(ctx context.Context, stdin *os.File) (*child.Process, error) {
		p := child.New()
		joinAll(p, pidFD, namespaces)
		(&identity{}).stdio(p, [3]*os.File{stdin, nil, nil})
		p.Exec(p.FindFile(hook.Path, child.Command{Args: hookArgs(hook), Env: hook.Env}))
		c, err := p.Start(child.Options{})
		if err != nil {
			return nil, err
		}
		if _, err := c.Next(ctx); !isEOF(err) {
			return nil, errors.Join(err, ignoreGone(c.Kill()), c.Close())
		}
		return c, nil
	})
}

// attendHook starts a hook with the state on its standard input, and waits until it has ended well, or its time is over.
func attendHook(ctx context.Context, hook specs.Hook, state *specs.State, start func(context.Context, *os.File) (*child.Process, error)) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	ctx, cancel := hookContext(ctx, hook)
	defer cancel()
	p, err := start(ctx, in)
	in.Close()
	if err != nil {
		return hookError(hook, err, "")
	}
	defer p.Close()
	defer context.AfterFunc(ctx, func() { _ = p.Signal(unix.SIGKILL) })()
	go func() {
		_, _ = out.Write(text) // a hook need not read it
		out.Close()
	}()
	status, err := p.Wait()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
	case status.Signaled():
		err = fmt.Errorf("killed by %v", status.Signal())
	case status.ExitStatus() != 0:
		err = fmt.Errorf("exit status %d", status.ExitStatus())
	default:
		return nil
	}
	return hookError(hook, err, "")
}

// joinAll joins namespaces of the process that pidFD is. In a PID namespace it takes another process to be in it.
func joinAll(p *child.Program, pidFD *os.File, namespaces uint64) {
	hideMemory(p)
	p.Phase("join the container's namespaces")
	p.Call("setns", unix.SYS_SETNS, "pidfd", "all of them in one call", p.File("fd", int(pidFD.Fd())),
		child.Flags("type", namespaces, child.CloneFlags(namespaces)))
	if namespaces&unix.CLONE_NEWPID != 0 {
		p.Fork("only a new process is in the PID namespace")
	}
}

// runAll runs hooks on the host, and goes on after one that failed: for what has happened already.
func runAll(ctx context.Context, name string, hooks []specs.Hook, state *specs.State) error {
	var errs []error
	for i, hook := range hooks {
		if err := runHook(ctx, hook, state); err != nil {
			errs = append(errs, fmt.Errorf("hooks.%s[%d]: %w", name, i, err))
		}
	}
	return errors.Join(errs...)
}
