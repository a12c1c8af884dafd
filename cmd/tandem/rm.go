package main

import (
	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newRmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [flags] CONTAINER...",
		Short:   "Remove containers, with what they have written",
		Long:    "Removes containers that have ended: their record, their layer and their log. With --force, one that runs is killed.",
		Example: "  tandem rm web\n  tandem ps -aq | xargs -r tandem rm -f",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachBox(cmd, args, func(r *box.Record) error { return r.Remove(cmd.Context(), force) })
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill it first, if it runs")
	return cmd
}
