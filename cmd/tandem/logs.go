package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newLogsCommand() *cobra.Command {
	var follow, stamps, asJSON bool
	tail := -1
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "Print what a detached container has written",
		Long: "Prints what a detached container has written, its standard output and standard error each to tandem's own.\n" +
			"Of a long log the last 32 MiB or so are kept.",
		Example: "  tandem logs -f web\n  tandem logs --tail 10 --timestamps web",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			show := func(e box.Entry) error { return printEntry(cmd, e, stamps, asJSON) }
			if tail >= 0 && !follow {
				return printTail(cmd, r, tail, show)
			}
			err = r.Logs(cmd.Context(), follow, show)
			if follow && errors.Is(err, cmd.Context().Err()) && err != nil {
				return exitStatus(statusInterrupted)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the container ends")
	cmd.Flags().BoolVarP(&stamps, "timestamps", "t", false, "print the time of each line")
	cmd.Flags().IntVarP(&tail, "tail", "n", -1, "print the last `NUMBER` of lines (not with --follow)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func printTail(cmd *cobra.Command, r *box.Record, n int, show func(box.Entry) error) error {
	var last []box.Entry
	err := r.Logs(cmd.Context(), false, func(e box.Entry) error {
		last = append(last, e)
		if len(last) > n {
			last = slices.Delete(last, 0, len(last)-n)
		}
		return nil
	})
	for _, e := range last {
		if err := show(e); err != nil {
			return err
		}
	}
	return err
}

func printEntry(cmd *cobra.Command, e box.Entry, stamps, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return printJSONLine(out, e)
	}
	if e.Stream == "stderr" {
		out = cmd.ErrOrStderr()
	}
	if stamps {
		if _, err := fmt.Fprint(out, e.Time.Format(time.RFC3339Nano), " "); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, e.Text)
	return err
}

func printJSONLine(w io.Writer, v any) error {
	return json.NewEncoder(w).Encode(v)
}
