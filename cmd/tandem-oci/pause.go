package main

import "github.com/spf13/cobra"

func newPauseCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "pause ID",
		Short: "Freeze all processes of a container",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			return c.Pause(cmd.Context())
		},
	}
}
