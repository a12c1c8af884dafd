package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

// newKeepBoxCommand is what a detached container's keeper is started as. Nobody types it.
func newKeepBoxCommand() *cobra.Command {
	var how box.Handover
	var size []uint
	cmd := &cobra.Command{
		Use: box.KeeperVerb + " ID", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			home, err := box.Open()
			if err != nil {
				return err
			}
			if len(size) == len(how.Size) {
				how.Size = [2]uint16{uint16(size[0]), uint16(size[1])}
			}
			return home.KeepDetached(args[0], how, tellStart)
		},
	}
	cmd.Flags().BoolVar(&how.Hold, box.HoldFlag, false, "hold output back for who attaches")
	cmd.Flags().UintSliceVar(&size, box.SizeFlag, nil, "rows and columns of his terminal")
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
