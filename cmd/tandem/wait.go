package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newWaitCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "wait [flags] CONTAINER...",
		Short:   "Wait until containers have ended, and print their exit statuses",
		Example: "  tandem wait web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			// All are waited for at once: one with --rm is gone when another one's end has come.
			waits := make([]func() (box.Exit, error), len(args))
			for i, word := range args {
				waits[i] = waitFor(cmd.Context(), word)
			}
			var errs []error
			for _, wait := range waits {
				exit, err := wait()
				switch {
				case err != nil:
				case asJSON:
					err = printJSON(cmd.OutOrStdout(), exit)
				default:
					_, err = fmt.Fprintln(cmd.OutOrStdout(), exit.Status)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// waitFor begins to wait for a container.
func waitFor(ctx context.Context, word string) func() (box.Exit, error) {
	r, err := oneBox(word)
	if err != nil {
		return func() (box.Exit, error) { return box.Exit{}, err }
	}
	ended := make(chan struct{})
	var exit box.Exit
	go func() {
		defer close(ended)
		exit, err = r.Wait(ctx)
	}()
	return func() (box.Exit, error) {
		<-ended
		return exit, err
	}
}
