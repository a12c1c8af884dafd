package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newRmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [flags] CONTAINER...",
		Short: "Remove containers, with what they have written",
		Long: "Removes containers that have ended: their record, their layer and their log. With --force, one that runs is killed,\n" +
			"and one that is not there is no error.",
		Example: "  tandem rm web\n  tandem ps -aq | xargs -r tandem rm -f",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := eachBox(cmd, args, func(r *box.Record) error { return r.Remove(cmd.Context(), force) })
			if force && onlyNotFound(err) {
				fmt.Fprintf(cmd.ErrOrStderr(), "tandem: %v\n", err)
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolP("volumes", "v", false, "")
	_ = cmd.Flags().MarkHidden("volumes") // docker's: what it has written goes anyway
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill it first, if it runs")
	return cmd
}

// onlyNotFound tells whether that is all that went wrong with any of the containers.
func onlyNotFound(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			if !errors.Is(err, box.ErrNotFound) {
				return false
			}
		}
	}
	return errors.Is(err, box.ErrNotFound)
}
