package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tandem/container"
)

func newDeleteCommand(g *global) *cobra.Command {
	var force, regex bool
	cmd := &cobra.Command{
		Use:   "delete [flags] ID...",
		Short: "Remove a container that has stopped, and all that was made for it",
		Args:  arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				containers, err := g.selected([]string{name}, regex)
				if force && errors.Is(err, container.ErrNotFound) {
					continue // it is as it should be
				}
				errs = append(errs, err)
				for _, c := range containers {
					errs = append(errs, c.Delete(cmd.Context(), force))
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill it before, if it runs")
	cmd.Flags().BoolVarP(&regex, "regex", "r", false, "ID is a regular expression: remove all that match")
	return cmd
}
