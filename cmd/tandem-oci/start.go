package main

import "github.com/spf13/cobra"

func newStartCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "start ID",
		Short: "Execute the command of a container that create has made",
		Long: "Executes the command of a container that create has made. With NOTIFY_SOCKET in the environment, at create and\n" +
			"now, it waits until the command tells by sd_notify(3) that it is ready, and tells the service manager.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			return startNotified(cmd.Context(), c)
		},
	}
}
