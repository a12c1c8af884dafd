package main

import (
	"github.com/spf13/cobra"

	"tandem/lab"
)

// newLabSuperviseCommand is what `tandem lab up` starts in the background; nobody types it.
func newLabSuperviseCommand() *cobra.Command {
	return &cobra.Command{
		Use:    lab.Verb,
		Short:  "Own a lab (started by the other verbs)",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.Supervise(cmd.Context())
		},
	}
}
