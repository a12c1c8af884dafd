package main

import (
	"github.com/spf13/cobra"
)

func newInspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect CONTAINER...",
		Short: "Print all that is known of containers, as JSON",
		Long: "Prints a list of all that is known of containers: what was asked for, what it is doing, how it ended, its\n" +
			"network, and while it runs also the engine's configuration, which is that of the OCI runtime specification.",
		Example: "  tandem inspect web\n  tandem inspect web | jq '.[0].exit.oomKilled'",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list := []boxFields{}
			for _, word := range args {
				r, err := oneBox(word)
				if err != nil {
					return err
				}
				f := listed{r, r.Status()}.fields()
				if c, err := r.Container(); err == nil { // it has not ended
					if f.Config, err = c.Config(); err != nil {
						return err
					}
				}
				list = append(list, f)
			}
			return printJSON(cmd.OutOrStdout(), list)
		},
	}
	addJSONFlag(cmd, &asJSON)
	_ = cmd.Flags().MarkHidden("json") // it exists: there is no other form
	return cmd
}
