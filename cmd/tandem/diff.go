package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newDiffCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff [flags] CONTAINER",
		Short: "List what a container has changed of its files",
		Long: "Lists what a container has added (A), changed (C) and deleted (D) of the files that it began with. What lies on\n" +
			"volumes and in memory is not among them.",
		Example: "  tandem diff web",
		Args:    exactly("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			list, err := r.Changes()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			for _, c := range list {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", c.Op, printableName(c.Path))
			}
			return nil
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// printableName quotes a name that a terminal would act on: the container chose it.
func printableName(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
