package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/container"
)

// runForeground runs a box with this process as its keeper.
func runForeground(cmd *cobra.Command, f *runFlags, r *box.Record) error {
	o := &f.options
	t := newBoxTerminal(cmd.InOrStdin(), cmd.OutOrStdout(), o.Interactive)
	streams := box.Streams{Stdout: asFile(cmd.OutOrStdout()), Stderr: asFile(cmd.ErrOrStderr()), Console: t.attach, Warn: warnTo(cmd)}
	streams.ConsoleSize[0], streams.ConsoleSize[1] = terminalSize(cmd.InOrStdin())
	if o.Interactive {
		streams.Stdin = asFile(cmd.InOrStdin())
	} else {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return errors.Join(err, r.Discard())
		}
		defer null.Close()
		streams.Stdin = null
	}
	// A reader of what this process says may go away: that ends no container half-way.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, unix.SIGPIPE)
	defer signal.Stop(pipes)
	trace := &stepTrace{w: cmd.ErrOrStderr()}
	if f.trace {
		streams.Observe = trace.step
	}
	p, err := r.Start(cmd.Context(), streams)
	if err != nil {
		t.close()
		return errors.Join(err, r.Discard())
	}
	trace.end()
	stop := passSignals(p, t)
	exit, err := r.Keep(context.WithoutCancel(cmd.Context()), p)
	stop()
	t.close()
	switch {
	case err != nil:
		return err
	case exit.OOMKilled:
		fmt.Fprintf(cmd.ErrOrStderr(), "tandem: container %s ran out of memory (limit %d bytes)\n", r.Name, o.Memory)
	}
	if exit.Status != 0 {
		return exitStatus(exit.Status)
	}
	return nil
}

// asFile is nil for what is no file: tandem's own streams are, and a test's may not be.
func asFile(stream any) *os.File {
	f, _ := stream.(*os.File)
	return f
}

func warnTo(cmd *cobra.Command) func(string, ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(cmd.ErrOrStderr(), "tandem: warning: "+format+"\n", args...)
	}
}

// boxPatience is how many signals that ask it to end a command gets before it is killed. A container's first process
// gets none that it has no handler for, see pid_namespaces(7).
const boxPatience = 2

// passSignals passes on what this process is sent, until stop is called.
func passSignals(p *container.Process, t *boxTerminal) (stop func()) {
	received := make(chan os.Signal, 64)
	signal.Notify(received)
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := 0
		for s := range received {
			switch s := s.(syscall.Signal); s {
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU: // SIGURG is how Go's scheduler interrupts a thread
			case unix.SIGWINCH:
				t.resize()
			case unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT:
				if asked++; asked >= boxPatience {
					s = unix.SIGKILL
				}
				_ = p.Signal(s) // it may have ended: Wait tells
			default:
				_ = p.Signal(s)
			}
		}
	}()
	return func() {
		signal.Stop(received)
		close(received)
		<-done
	}
}
