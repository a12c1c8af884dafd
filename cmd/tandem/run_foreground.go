package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/container"
	"tandem/internal/signals"
)

// runForeground runs a box with this process as its keeper.
func runForeground(cmd *cobra.Command, f *runFlags, r *box.Record) error {
	o := &f.options
	t := newBoxTerminal(cmd.InOrStdin(), cmd.OutOrStdout(), o.Interactive)
	streams := box.Streams{Console: t.attach, Warn: warnTo(cmd)}
	streams.ConsoleSize[0], streams.ConsoleSize[1] = terminalSize(cmd.InOrStdin())
	var pipes streamPipes
	if err := pipes.open(cmd, &streams, o.TTY, o.Interactive); err != nil {
		return errors.Join(err, r.Discard())
	}
	defer pipes.close()
	// From here on signals are the command's: it may be at work before this process has heard that it is. SIGPIPE is among
	// them: who reads what this process says may go away, which must not end it with a container half made.
	ctx := context.WithoutCancel(cmd.Context())
	caught := signals.Catch()
	trace := &stepTrace{w: cmd.ErrOrStderr()}
	if f.trace {
		streams.Observe = trace.step
	}
	p, err := r.Start(ctx, streams)
	if err != nil {
		t.close()
		return errors.Join(err, r.Discard())
	}
	trace.end()
	pipes.started()
	passSignals(caught, p, t)
	exit, err := r.Keep(ctx, p)
	t.close()
	pipes.close()
	if err != nil {
		return err
	}
	return boxEnded(cmd, r, exit)
}

// runSession leaves the box to a keeper of its own, and is at its terminal.
func runSession(cmd *cobra.Command, f *runFlags, r *box.Record) error {
	received := catchAll() // from here on signals are the command's, as in runForeground
	if err := r.Detach(context.WithoutCancel(cmd.Context()), attachHandover(cmd)); err != nil {
		return err
	}
	return attachBox(cmd, r, attachFlags{interactive: true, proxy: true, patience: boxPatience, keys: f.detachKeys}, received)
}

// boxEnded ends tandem as its box did.
func boxEnded(cmd *cobra.Command, r *box.Record, exit box.Exit) error {
	if exit.OOMKilled {
		fmt.Fprintf(cmd.ErrOrStderr(), "tandem: container %s ran out of memory\n", r.Name)
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
		fmt.Fprintf(cmd.ErrOrStderr(), "tandem: warning: %s\n", shortIDs(fmt.Sprintf(format, args...), nil))
	}
}

// boxPatience is how many signals that ask it to end a command gets before it is killed. A container's first process
// gets none that it has no handler for, see pid_namespaces(7).
const boxPatience = 2

func asksToEnd(s syscall.Signal) bool {
	return s == unix.SIGINT || s == unix.SIGTERM || s == unix.SIGHUP || s == unix.SIGQUIT
}

// passSignals hands what this process is sent to the command, until this process ends.
func passSignals(caught <-chan os.Signal, p *container.Process, t *boxTerminal) {
	go func() {
		asked := 0
		for s := range caught {
			switch s := s.(syscall.Signal); s {
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU: // SIGURG is how Go's scheduler interrupts a thread
			case unix.SIGWINCH:
				t.resize()
			default:
				if asksToEnd(s) {
					if asked++; asked >= boxPatience {
						s = unix.SIGKILL
					}
				}
				_ = p.Signal(s) // it may have ended: Wait tells
			}
		}
	}()
}
