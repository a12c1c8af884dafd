package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

// newKeepBoxCommand is what a detached container's keeper is started as. Nobody types it.
func newKeepBoxCommand() *cobra.Command {
	hold := false
	cmd := &cobra.Command{
		Use: box.KeeperVerb + " ID", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			home, err := box.Open()
			if err != nil {
				return err
			}
			return home.KeepDetached(args[0], hold, tellStart)
		},
	}
	cmd.Flags().BoolVar(&hold, strings.TrimPrefix(box.HoldFlag, "--"), false, "hold output back for who attaches")
	return cmd
}

// tellStart is tandem's words and exit status for an error.
func tellStart(err error) box.StartError {
	err = boxError(err)
	var failed *failedCommand
	if errors.As(err, &failed) {
		return box.StartError{Status: int(failed.status), Text: err.Error()}
	}
	return box.StartError{Status: statusFailed, Text: err.Error()}
}
