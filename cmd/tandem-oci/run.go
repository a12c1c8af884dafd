package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/spf13/cobra"

	"tandem/container"
)

func newRunCommand(g *global) *cobra.Command {
	var f bundleFlags
	var detach, keep bool
	cmd := &cobra.Command{
		Use:   "run [flags] ID",
		Short: "Make a container, run it to its end and remove it",
		Long: "Makes a container, runs it to its end, removes it, and ends with the status of its command.\n" +
			"With --detach the container is left running, and is there until delete.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if detach {
				return g.runDetached(cmd.Context(), &f, args[0])
			}
			return g.run(cmd.Context(), &f, args[0], keep)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "leave the container running")
	cmd.Flags().BoolVar(&keep, "keep", false, "do not remove the container when it has ended")
	return cmd
}

func (g *global) runDetached(ctx context.Context, f *bundleFlags, id string) error {
	c, err := g.create(ctx, f, id)
	if err != nil {
		return err
	}
	if err := startNotified(ctx, c); err != nil {
		return errors.Join(err, c.Delete(context.WithoutCancel(ctx), true))
	}
	return nil
}

func (g *global) run(ctx context.Context, f *bundleFlags, id string, keep bool) error {
	e, err := g.engine()
	if err != nil {
		return err
	}
	s, err := f.spec(id, &g.log)
	if err != nil {
		return err
	}
	t, err := newTerminal(s.Config.Process, f.consoleSocket)
	if err != nil {
		return err
	}
	s.Console = t.attach
	held, err := holdSignals()
	if err != nil {
		return err
	}
	c, p, err := e.Run(ctx, s)
	if err != nil {
		t.close()
		return err
	}
	stop, err := g.passOnMeanwhile(ctx, c)
	if err != nil {
		t.close()
		return errors.Join(err, c.Delete(context.WithoutCancel(ctx), true))
	}
	status, err := accompany(p, t, held, f.pidfdSocket)
	stop()
	// Whatever ends this process may have ended the context too, and the container must not be left.
	ctx = context.WithoutCancel(ctx)
	if err != nil || !keep {
		err = errors.Join(err, c.Delete(ctx, true))
	}
	t.close()
	return errors.Join(err, statusError(status))
}

// accompany stays with a process until it has ended: it passes on signals and the terminal's bytes. One that it cannot stay
// with is killed.
func accompany(p *container.Process, t *terminal, held heldSignals, pidfdSocket string) (syscall.WaitStatus, error) {
	defer p.Release()
	var err error
	if pidfdSocket != "" {
		err = sendPIDFD(p.PID(), pidfdSocket)
	}
	if err == nil {
		err = held.forward(p.Signal, t.resize)
	}
	if err != nil {
		return 0, errors.Join(err, p.Kill())
	}
	t.relay()
	return p.Wait()
}

// statusError is nil for a command that has succeeded, and else carries its status to main.
func statusError(s syscall.WaitStatus) error {
	switch {
	case s.Signaled():
		return exitStatus(128 + int(s.Signal()))
	case s.ExitStatus() > 0:
		return exitStatus(s.ExitStatus())
	}
	return nil
}
