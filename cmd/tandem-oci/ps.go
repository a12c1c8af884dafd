package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tandem/container"
)

func newPSCommand(g *global) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "ps [flags] ID [OPTION of ps]...",
		Short:   "List the processes of a container",
		Long:    "Lists the processes of a container, by way of ps(1), which is given the options: -ef if there are none.",
		Example: "  tandem-oci ps web -o pid,ppid,args",
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(cmd, format); err != nil {
				return err
			}
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			pids, err := c.Pids()
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(append([]int{}, pids...))
			}
			return psTable(cmd, c, pids, args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the ID is for ps
	registerFormat(cmd, &format)
	return cmd
}

func psTable(cmd *cobra.Command, c *container.Container, pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(cmd.Context(), "ps", options...).Output()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s: ps %s: %w: %s", c.ID(), strings.Join(options, " "), err, bytes.TrimSpace(failed.Stderr))
	case err != nil:
		return fmt.Errorf("%s: %w (--format json needs no ps)", c.ID(), err)
	}
	return printProcesses(cmd.OutOrStdout(), string(out), pids)
}

// printProcesses prints those lines of ps that are of the processes.
func printProcesses(w io.Writer, table string, pids []int) error {
	title, lines, _ := strings.Cut(table, "\n")
	column := slices.Index(strings.Fields(title), "PID")
	if column < 0 {
		return fmt.Errorf("ps prints no column PID, but %q: its options must ask for one", title)
	}
	fmt.Fprintln(w, title)
	for line := range strings.SplitSeq(lines, "\n") {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprintln(w, line)
		}
	}
	return nil
}
