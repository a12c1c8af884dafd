package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/signals"
)

// A command of exec's that its user may leave, or never is with, has a process of tandem's that stays:
//
//	tandem exec ──── socket: what to run ───────► keep-exec ── clone ──► command
//	            ◄─── it runs; it ended, was left ─┘   │ has the master of its terminal
//
// It waits for the command: nobody else does. A zombie whose parent is outside of its PID namespace keeps that namespace's
// init from ending (pid_namespaces(7)), and so the container from being stopped, wherever the machine's first process does
// not reap what it is left with. And it has the terminal: that hangs up, with all that runs on it, when the last descriptor
// of its master is closed (pty(7)), and blocks who writes to it if nobody reads.

const (
	keepExecVerb = "keep-exec" // nobody types it
	keepExecFD   = 3
)

// execRequest is what such a process is to run.
type execRequest struct {
	ID      string
	Options box.ExecOptions
	Detach  bool
	Keys    []byte // that leave it
}

// execAnswer is what it tells: at first that the command runs, or why it does not, and then its end.
type execAnswer struct {
	Failed box.StartError
	Left   bool // by its keys
	Status int  // its exit status
}

// execKept starts a command with a process that stays with it. It returns when the command has ended or was left, and of
// one that is detached when it runs.
func execKept(cmd *cobra.Command, r *box.Record, request execRequest) error {
	request.ID = r.ID
	home, err := box.Open()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "mine"), os.NewFile(uintptr(pair[1]), "theirs")
	defer mine.Close()
	defer theirs.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	keeper := exec.Command(self, keepExecVerb)
	keeper.ExtraFiles = []*os.File{theirs}
	keeper.Env = append(os.Environ(), box.RunVariable+"="+home.Run, "TANDEM_ROOT="+home.Data)
	if request.Detach {
		keeper.Dir = "/"
		keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	} else {
		keeper.Stdin, keeper.Stdout, keeper.Stderr = asFile(cmd.InOrStdin()), asFile(cmd.OutOrStdout()), asFile(cmd.ErrOrStderr())
	}
	caught := signals.Catch()
	if err := keeper.Start(); err != nil {
		return err
	}
	theirs.Close()
	if err := json.NewEncoder(mine).Encode(request); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	answers := json.NewDecoder(mine)
	var answer execAnswer
	if err := answers.Decode(&answer); err != nil {
		return fmt.Errorf("exec: %s ended: %w", keepExecVerb, errors.Join(err, keeper.Wait()))
	}
	if answer.Failed.Text != "" {
		return &answer.Failed
	}
	if request.Detach {
		return nil
	}
	hungUp := make(chan struct{}) // who was at the terminal is gone
	go passOn(caught, keeper.Process, func() bool { return !isTerminal(cmd.InOrStdin()) }, hungUp)
	ended := make(chan error, 1)
	go func() { ended <- answers.Decode(&answer) }()
	select {
	case err = <-ended:
	case <-hungUp:
		return exitStatus(statusInterrupted)
	}
	if err != nil {
		return fmt.Errorf("exec: %s ended: %w", keepExecVerb, errors.Join(err, keeper.Wait()))
	}
	if !answer.Left {
		_ = keeper.Wait() // it is about to end
	}
	return endAs(answer.Status)
}

// passOn hands this process's signals to another one, but for those that the terminal sends to both. One that says that the
// terminal is gone closes a channel.
func passOn(caught <-chan os.Signal, to *os.Process, gone func() bool, hungUp chan<- struct{}) {
	for s := range caught {
		switch {
		case s == unix.SIGHUP && gone():
			close(hungUp)
			return
		case s == unix.SIGCHLD || s == unix.SIGPIPE || s == unix.SIGURG || s == unix.SIGTTIN || s == unix.SIGTTOU || s == unix.SIGTSTP ||
			s == unix.SIGCONT || s == unix.SIGWINCH:
		default:
			_ = to.Signal(s) // it may have ended: its answer tells
		}
	}
}

func newKeepExecCommand() *cobra.Command {
	return &cobra.Command{
		Use: keepExecVerb, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			front := os.NewFile(keepExecFD, "front")
			if front == nil {
				return errors.New(keepExecVerb + ": nobody waits for what it runs")
			}
			unix.CloseOnExec(keepExecFD)
			var request execRequest
			if err := json.NewDecoder(front).Decode(&request); err != nil {
				return fmt.Errorf("%s: %w", keepExecVerb, err)
			}
			k := &execKeeper{request: request, front: front, answers: json.NewEncoder(front)}
			if err := k.keep(cmd); err != nil {
				return k.answers.Encode(execAnswer{Failed: tellStart(err)})
			}
			return nil
		},
	}
}

// execKeeper is such a process.
type execKeeper struct {
	request execRequest
	front   *os.File // of who asked; its other end is closed when he is gone
	answers *json.Encoder
}

// keep runs the command, to its end. An error is that it does not run.
func (k *execKeeper) keep(cmd *cobra.Command) error {
	r, err := oneBox(k.request.ID)
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	t := newBoxTerminal(null, io.Discard, false)
	streams := box.Streams{Stdin: null, Stdout: null, Stderr: null}
	if !k.request.Detach {
		t = newBoxTerminal(cmd.InOrStdin(), cmd.OutOrStdout(), true)
		t.keys = k.request.Keys
		streams.ConsoleSize[0], streams.ConsoleSize[1] = terminalSize(cmd.InOrStdin())
	}
	streams.Console = t.attach
	caught := make(chan os.Signal)
	go withoutHangup(caught, signals.Catch(), cmd.InOrStdin())
	p, err := r.Exec(context.WithoutCancel(cmd.Context()), k.request.Options, streams)
	if err != nil {
		t.close()
		return err
	}
	passSignals(caught, p.Process, t)
	if err := k.answers.Encode(execAnswer{}); err != nil || k.request.Detach {
		k.front.Close()
		_, _ = p.Wait() // which tells how it ended
		return nil
	}
	k.attend(p, t, null)
	return nil
}

// withoutHangup passes signals on, but for the one that says that the terminal is gone: who was at it has left the command,
// which goes on.
func withoutHangup(to chan<- os.Signal, caught <-chan os.Signal, terminal any) {
	for s := range caught {
		if s != unix.SIGHUP || isTerminal(terminal) {
			to <- s
		}
	}
}

// attend is at a command's terminal until one of them ends, and then waits on for the command.
func (k *execKeeper) attend(p *box.Execution, t *boxTerminal, null *os.File) {
	gone, ended := make(chan struct{}), make(chan execAnswer, 1)
	go func() {
		defer close(gone)
		_, _ = k.front.Read(make([]byte, 1)) // nothing comes
	}()
	go func() {
		status, err := p.Wait()
		answer := execAnswer{Status: box.ExitStatus(status)}
		if err != nil {
			answer.Status = statusFailed
		}
		ended <- answer
	}()
	select {
	case answer := <-ended:
		t.close()
		_ = k.answers.Encode(answer) // if somebody is there yet
		return
	case <-t.left:
	case <-gone:
	}
	t.abandon()
	// From now on it has nothing to do with the user's terminal, which may be closed.
	_, _ = unix.Setsid()
	for fd := range 3 {
		_ = unix.Dup2(int(null.Fd()), fd)
	}
	p.Detached()
	_ = k.answers.Encode(execAnswer{Left: true}) // if somebody is there yet
	k.front.Close()
	<-ended
}
