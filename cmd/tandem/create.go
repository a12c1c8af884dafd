package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCreateCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "create [flags] IMAGE|--rootfs DIR [--] [COMMAND [ARG...]]",
		Short: "Make a container, to be started later",
		Long: "Makes a container that tandem start starts: with a name, its files and all that its flags say, and without a process.\n" +
			"Files can be copied into it and out of it. The flags are those of tandem run; it runs detached.",
		Example: "  tandem create --name web -p 8080:80 nginx && tandem cp site/. web:/www && tandem start web",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.options.Detach = true
			o, err := f.settle(cmd.Flags(), args)
			if err != nil {
				return err
			}
			o.StdinOnce = o.Interactive && !o.TTY // as with docker: it is made to be started by tandem start -ai
			r, err := newBox(cmd, &f, o)
			if err != nil {
				return err
			}
			if err := r.Hold(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), r.ID)
			return err
		},
	}
	f.register(cmd.Flags())
	_ = cmd.Flags().MarkHidden("detach") // it is what it does
	return cmd
}
