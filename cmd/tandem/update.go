package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/box"
)

func newUpdateCommand() *cobra.Command {
	var f boxLimitFlags
	cmd := &cobra.Command{
		Use:     "update [flags] CONTAINER...",
		Short:   "Change the limits of containers",
		Long:    "Changes what containers may use, at once where they run, and for the next time that they are started.",
		Example: "  tandem update -m 512M --cpus 2 web\n  tandem update --restart no web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			changed := false
			cmd.Flags().Visit(func(*pflag.Flag) { changed = true })
			if !changed {
				return errors.New("update: nothing is to be changed\nSee 'tandem update --help'")
			}
			if _, _, err := f.settle(cmd.Flags(), box.Limits{}, box.RestartPolicy{}); err != nil {
				return err
			}
			return eachBox(cmd, args, func(r *box.Record) error {
				return r.Update(cmd.Context(), func(l box.Limits, p box.RestartPolicy) (box.Limits, box.RestartPolicy) {
					l, p, _ = f.settle(cmd.Flags(), l, p) // its values were read above
					return l, p
				})
			})
		},
	}
	cmd.Flags().SortFlags = false
	f.register(cmd.Flags())
	return cmd
}

func newRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rename CONTAINER NAME",
		Short:   "Give a container another name",
		Example: "  tandem rename brisk_otter web",
		Args:    exactly("container", "name"),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			return r.Rename(args[1])
		},
	}
}
