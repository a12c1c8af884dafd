package main

import "github.com/spf13/cobra"

func newStartCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "start ID",
		Short: "Execute the command of a container that create has made",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			return c.Start(cmd.Context())
		},
	}
}
