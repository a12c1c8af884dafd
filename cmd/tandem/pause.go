package main

import (
	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "pause CONTAINER...",
		Short:   "Freeze all processes of containers",
		Long:    "Freezes all processes of containers, by their cgroup. They notice nothing of it, and cannot keep it from them.",
		Example: "  tandem pause web && tandem unpause web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachBox(cmd, args, func(r *box.Record) error { return r.Pause(cmd.Context()) })
		},
	}
}

func newUnpauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "unpause CONTAINER...",
		Aliases: []string{"resume"},
		Short:   "Let the processes of containers go on",
		Example: "  tandem unpause web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachBox(cmd, args, func(r *box.Record) error { return r.Unpause(cmd.Context()) })
		},
	}
}
