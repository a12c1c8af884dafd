package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tandem/container"
)

func newCreateCommand(g *global) *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "create [flags] ID",
		Short: "Make a container; its command waits for start",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := g.create(cmd.Context(), &f, args[0])
			return err
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// create makes a container that this process does not stay with.
func (g *global) create(ctx context.Context, f *bundleFlags, id string) (*container.Container, error) {
	e, err := g.engine()
	if err != nil {
		return nil, err
	}
	s, err := f.spec(id, &g.log)
	if err != nil {
		return nil, err
	}
	if err := checkDetachedTerminal(s.Config.Process, f.consoleSocket); err != nil {
		return nil, err
	}
	c, err := e.Create(ctx, s)
	if err != nil || f.pidfdSocket == "" {
		return c, err
	}
	state, err := c.State()
	if err == nil {
		err = sendPIDFD(state.Pid, f.pidfdSocket)
	}
	if err != nil {
		return nil, errors.Join(err, c.Delete(context.WithoutCancel(ctx), true))
	}
	return c, nil
}
