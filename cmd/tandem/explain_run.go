package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newExplainBoxCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE|--rootfs DIR [--] [COMMAND [ARG...]]",
		Short: "Print what run would do, with the same flags",
		Long: "Prints the steps that tandem run would take, with the same flags: first what the box needs beside the engine,\n" +
			"then the container. The numbers are those that the errors of a real run speak of.\n" +
			"Nothing of it is done, and no root is needed. An image's layers are unpacked, if they are not yet.",
		Example: "  tandem explain run --rootfs / -m 64M -- ps aux\n" +
			"  tandem explain run --rootfs / --json true",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.settle(cmd.Flags(), args)
			if err != nil {
				return err
			}
			home, err := box.Open()
			if err != nil {
				return err
			}
			progress := newImageProgress(cmd)
			plans, err := home.Explain(cmd.Context(), *o, progress.show)
			progress.line.done()
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), plans)
			}
			for i, p := range plans {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := p.WriteText(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(cmd.Flags())
	addJSONFlag(cmd, &f.json)
	return cmd
}
