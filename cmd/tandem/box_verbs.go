package main

import (
	"errors"
	"fmt"
	"strings"

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

// atLeastOne is for verbs that take some of a kind.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return argumentError(cmd, "the %s is missing", what)
	}
}

// exactly is for verbs that take one of each kind.
func exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(what):
			return argumentError(cmd, "the %s is missing", what[len(args)])
		case len(args) > len(what):
			return argumentError(cmd, "what is %q? It takes one %s", args[len(what)], strings.Join(what, ", one "))
		}
		return nil
	}
}

func argumentError(cmd *cobra.Command, format string, args ...any) error {
	verb := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	return fmt.Errorf("%s: %s\nSee '%s --help'", verb, fmt.Sprintf(format, args...), cmd.CommandPath())
}
