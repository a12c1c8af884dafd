package main

import "github.com/spf13/cobra"

func newResumeCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "resume ID",
		Short: "Let a container's frozen processes go on",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			return c.Resume(cmd.Context())
		},
	}
}
