package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tandem/lab"
)

func newLabDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the lab and all that runs in it",
		Long:  "Ends the lab, and returns when nothing of it is left. That none is up is no error.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := newStatus(cmd)
			s.step("lab: going down")
			err := lab.Down(cmd.Context(), lab.Options{})
			s.done()
			if errors.Is(err, lab.ErrNotRunning) {
				return nil
			}
			return err
		},
	}
}
