package main

import (
	"errors"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/internal/signals"
)

func newKillCommand(g *global) *cobra.Command {
	var all, regex bool
	cmd := &cobra.Command{
		Use:   "kill [flags] ID [SIGNAL]",
		Short: "Send a signal to a container's first process",
		Long:  "Sends SIGNAL, a name or a number, to the container's first process: TERM if it is not given.",
		Args:  arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal := unix.SIGTERM
			if len(args) == 2 {
				var err error
				if signal, err = signals.Parse(args[1]); err != nil {
					return usageError(cmd, "%w", err)
				}
			}
			containers, err := g.selected(args[:1], regex)
			if err != nil {
				return err
			}
			var errs []error
			for _, c := range containers {
				errs = append(errs, c.Signal(cmd.Context(), signal, all))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "send it to every process of the container")
	cmd.Flags().BoolVarP(&regex, "regex", "r", false, "ID is a regular expression: send it to all that match")
	return cmd
}
