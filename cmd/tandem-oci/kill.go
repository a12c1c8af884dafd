package main

import (
	"errors"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/internal/signals"
)

func newKillCommand(g *global) *cobra.Command {
	var all, regex bool
	cmd := &cobra.Command{
		Use:   "kill [flags] ID [SIGNAL]",
		Short: "Send a signal to a container's first process",
		Long: "Sends SIGNAL, a name or a number, to the container's first process: TERM if it is not given. 0 only asks whether\n" +
			"the process is there.",
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal := unix.SIGTERM
			if len(args) == 2 {
				var err error
				if signal, err = parseSignal(args[1]); err != nil {
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

// parseSignal takes 0 too, which is no signal, and which kill(2) takes.
func parseSignal(text string) (syscall.Signal, error) {
	if text == "0" {
		return 0, nil
	}
	return signals.Parse(text)
}
