package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newListCommand(g *global) *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "list [flags]",
		Aliases: []string{"ls"},
		Short:   "List the containers",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(cmd, format); err != nil {
				return err
			}
			states, err := g.states()
			return errors.Join(printStates(cmd.OutOrStdout(), states, format, quiet), err)
		},
	}
	registerFormat(cmd, &format)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the IDs alone")
	return cmd
}

// registerFormat adds the flag of the verbs that print for people or for programs.
func registerFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "format", "f", "table", "print a `table|json`")
}

func checkFormat(cmd *cobra.Command, format string) error {
	if format != "table" && format != "json" {
		return usageError(cmd, "--format %q: want table or json", format)
	}
	return nil
}

// states are those of all containers. What cannot be read is an error beside those that can.
func (g *global) states() ([]*state, error) {
	e, err := g.engine()
	if err != nil {
		return nil, err
	}
	containers, err := e.List()
	errs := []error{err}
	states := []*state{} // [] and not null
	for _, c := range containers {
		s, err := stateOf(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.ID(), err))
			continue
		}
		states = append(states, s)
	}
	return states, errors.Join(errs...)
}

func printStates(w io.Writer, states []*state, format string, quiet bool) error {
	switch {
	case quiet:
		for _, s := range states {
			fmt.Fprintln(w, s.ID)
		}
		return nil
	case format == "json":
		return json.NewEncoder(w).Encode(states)
	}
	t := tabwriter.NewWriter(w, 12, 1, 3, ' ', 0)
	fmt.Fprintln(t, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range states {
		created := s.Created.Format(time.RFC3339Nano)
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.PID, s.Status, s.Bundle, created, s.Owner)
	}
	return t.Flush()
}
