package main

import (
	"github.com/spf13/cobra"

	"tandem/lab"
)

// newLabKeepCommand is what a lab runs in itself; nobody types it.
func newLabKeepCommand() *cobra.Command {
	return &cobra.Command{
		Use:    lab.KeepVerb,
		Short:  "Keep VMs that do nothing (started in a lab)",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.Keep(cmd.Context(), cmd.OutOrStdout())
		},
	}
}
