package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/lab"
)

func newLabStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether the lab is up, and what it is",
		Long:  "Prints the lab's state. The exit status is 1 if it is not up.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := lab.Status(cmd.Context(), lab.Options{})
			if errors.Is(err, lab.ErrNotRunning) {
				if err := printNoLab(cmd.OutOrStdout(), asJSON); err != nil {
					return err
				}
				return exitStatus(1)
			}
			if err != nil {
				return err
			}
			return printLabState(cmd.OutOrStdout(), state, asJSON)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printNoLab(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string]string{"phase": "down"})
	}
	_, err := fmt.Fprintln(w, "The lab is down.")
	return err
}

func printLabState(w io.Writer, s lab.State, asJSON bool) error {
	if asJSON {
		return printJSON(w, s)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, name+"\t"+format+"\n", args...)
	}
	row("lab", "%s", s.Phase)
	if s.Step != "" {
		row("step", "%s", s.Step)
	}
	if s.Kernel != "" {
		row("machine", "Linux %s, %s, cpus %d, %d MiB", s.Kernel, s.Accel, s.CPUs, s.Memory>>20)
	}
	if s.Phase == lab.Ready {
		row("up", "%v, booted in %.1f s", time.Since(s.Started).Round(time.Second), s.Boot.Seconds())
		row("in use", "%d sessions, %s", s.Sessions, idleText(s.Idle))
	}
	row("processes", "supervisor %d, QEMU %d", s.Supervisor, s.QEMU)
	row("console", "%s", s.Console)
	return t.Flush()
}

func idleText(idle time.Duration) string {
	if idle < 0 {
		return "stays up when idle"
	}
	return fmt.Sprintf("goes down when idle for %v", idle)
}
