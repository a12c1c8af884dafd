package main

import (
	"github.com/spf13/cobra"

	"tandem/lab"
)

func newLabUpCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the lab, if it is not up",
		Long:  "Starts the lab and returns when it is ready. The other flags count only if it was not up yet.",
		Args:  cobra.NoArgs,
	}
	flags := addLabFlags(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s := newStatus(cmd)
		state, err := lab.Up(cmd.Context(), flags.options(s))
		s.done()
		if err != nil {
			return err
		}
		return printLabState(cmd.OutOrStdout(), state, asJSON)
	}
	return cmd
}
