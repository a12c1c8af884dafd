// Container makes a container in seven steps, each of which adds one thing to
// those before.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The first thread is main's alone: one of the steps changes its namespace.
func init() { runtime.LockOSThread() }

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	if len(args) > 0 && args[0] == childWord {
		return 0, beChild(args[1:])
	}
	last := steps[len(steps)-1].name
	flags := flag.NewFlagSet("container", flag.ContinueOnError)
	name := flags.String("step", last, "the last step that is done: "+strings.Join(stepNames(), ", "))
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: container [-step NAME] [COMMAND [ARG ...]]\n\nWithout a command, it shows each step.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil // it has said why
	}
	upTo, err := findStep(*name)
	if err != nil {
		return 0, err
	}
	if flags.NArg() > 0 && upTo < stepShell {
		return 0, fmt.Errorf("step %s executes nothing, the first that does is %s", *name, steps[stepShell].name)
	}

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	root, err := os.MkdirTemp("", "lesson")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if err := makeRoot(root); err != nil {
		return 0, err
	}
	if flags.NArg() > 0 {
		return runContainer(ctx, upTo, root, flags.Args())
	}
	for i := range upTo + 1 {
		fmt.Printf("step %d, %s: %s\n", i+1, steps[i].name, steps[i].calls)
		status, err := runContainer(ctx, i, root, nil)
		if err == nil && status != 0 {
			err = fmt.Errorf("step %s: status %d", steps[i].name, status)
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// runContainer makes a container of the steps up to one, and waits for its end.
func runContainer(ctx context.Context, upTo int, root string, command []string) (status int, err error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{childWord, steps[upTo].name, root}, command...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// Process groups are not in any namespace: without one of its own,
	// kill(0, SIGKILL) inside would reach us, and whoever started us.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if len(command) > 0 {
		cmd.Stdin = os.Stdin
		cmd.SysProcAttr.Foreground = term.IsTerminal(0) // Ctrl-C is for that group, then
	}
	for _, s := range steps[:upTo+1] {
		cmd.SysProcAttr.Cloneflags |= s.namespaces
	}
	wait, goOn, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer goOn.Close()
	cmd.ExtraFiles = []*os.File{wait}
	err = cmd.Start()
	wait.Close()
	if err != nil {
		return 0, err
	}
	undo, err := outside(upTo, cmd.Process.Pid)
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return 0, err
	}
	goOn.Close()
	err = cmd.Wait()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return exitStatus(ended), nil
	}
	return 0, err
}

// outside does the parent's part of each step. The child waits meanwhile.
func outside(upTo, pid int) (undo []func() error, err error) {
	for _, s := range steps[:upTo+1] {
		if s.parent == nil {
			continue
		}
		u, err := s.parent(pid)
		undo = append(undo, u...)
		if err != nil {
			return undo, fmt.Errorf("step %s: %w", s.name, err)
		}
	}
	return undo, nil
}

// exitStatus is a process's as shells give it.
func exitStatus(e *exec.ExitError) int {
	if status, ok := e.Sys().(unix.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}
