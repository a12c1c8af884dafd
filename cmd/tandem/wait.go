package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newWaitCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "wait [flags] CONTAINER...",
		Short:   "Wait until containers have ended, and print their exit statuses",
		Example: "  tandem wait web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, word := range args {
				r, err := oneBox(word)
				if err != nil {
					return err
				}
				exit, err := r.Wait(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(cmd.OutOrStdout(), exit)
				} else {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), exit.Status)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}
