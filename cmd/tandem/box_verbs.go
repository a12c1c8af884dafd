package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

// boxVerbs are the verbs of containers.
func boxVerbs() []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(), newPsCommand(), newLogsCommand(), newExecCommand(), newStopCommand(), newKillCommand(), newPauseCommand(),
		newUnpauseCommand(), newWaitCommand(), newInspectCommand(), newRmCommand(), newStatsCommand(), newTopCommand(), newCpCommand(),
		newEventsCommand(), newCreateCommand(), newStartCommand(), newRestartCommand(), newRenameCommand(), newUpdateCommand(),
		newPortCommand(), newAttachCommand(), newDiffCommand(),
		newSystemCommand(), newKeepBoxCommand(), newKeepExecCommand(),
	}
}

// eachBox does something to each of the containers that are named, and goes on after one that fails. It prints the words
// of those that did not.
func eachBox(cmd *cobra.Command, words []string, do func(*box.Record) error) error {
	home, err := box.Open()
	if err != nil {
		return err
	}
	var errs []error
	for _, word := range words {
		r, err := home.Find(word)
		if err == nil {
			err = do(r)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(cmd.OutOrStdout(), word)
	}
	return errors.Join(errs...)
}

// oneBox finds a container.
func oneBox(word string) (*box.Record, error) {
	home, err := box.Open()
	if err != nil {
		return nil, err
	}
	return home.Find(word)
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return fmt.Errorf("%s: the %s is missing\nSee '%s --help'", cmd.CommandPath(), what, cmd.CommandPath())
	}
}
