package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newLogsCommand() *cobra.Command {
	var stamps, asJSON bool
	var since, until string
	o := box.LogOptions{Last: -1}
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "Print what a detached container has written",
		Long: "Prints what a detached container has written, its standard output and standard error each to tandem's own.\n" +
			"Of a long log the last 32 MiB or so are kept. Times are those of tandem events.",
		Example: "  tandem logs -f --tail 100 web\n  tandem logs --since 10m --timestamps web",
		Args:    exactly("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			times, err := eventTimes(since, until, time.Now())
			if err != nil {
				return err
			}
			o.Since, o.Until = times.Since, times.Until
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			err = r.Logs(cmd.Context(), o, func(e box.Entry) error { return printEntry(cmd, e, stamps, asJSON) })
			if o.Follow && err != nil && errors.Is(err, cmd.Context().Err()) {
				return exitStatus(statusInterrupted)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
	cmd.Flags().BoolVarP(&stamps, "timestamps", "t", false, "print the time of each line")
	cmd.Flags().VarP((*tailValue)(&o.Last), "tail", "n", "of those lines that there are, print the last `NUMBER`, or all")
	cmd.Flags().StringVar(&since, "since", "", "print what was written since `TIME`")
	cmd.Flags().StringVar(&until, "until", "", "print what was written until `TIME`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// tailValue is a number of lines, negative for all.
type tailValue int

func (v *tailValue) Set(text string) error {
	if text == "all" {
		*v = -1
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("want a number of lines, or all")
	}
	*v = tailValue(n)
	return nil
}

func (v *tailValue) String() string {
	if *v < 0 {
		return "all"
	}
	return strconv.Itoa(int(*v))
}

func (*tailValue) Type() string { return "NUMBER" }

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
