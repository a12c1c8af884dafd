package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/format"
)

func newEventsCommand() *cobra.Command {
	var (
		since, until string
		filters      []string
		asJSON       bool
		as           documentsFlag
	)
	cmd := &cobra.Command{
		Use:   "events [flags]",
		Short: "Print what happens to containers, as it happens",
		Long: "Prints what happens to containers from now on, until Ctrl-C: attach, create, destroy, detach, die, exec_create,\n" +
			"exec_detach, exec_die, exec_start, kill, oom, pause, rename, restart, start, stop, unpause, update. With --since also\n" +
			"what was, as far as it is kept: the last 4 MiB. Times are dates, with or without a time of day, seconds since 1970,\n" +
			"or spans before now, such as 10m.\n" +
			"Filters are container=NAME, event=ACTION, image=NAME, label=NAME[=VALUE] and type=container: each kind that is\n" +
			"named must be met, by one of its values.",
		Example: "  tandem events --filter event=die --filter event=oom\n  tandem events --format '{{.Action}} {{.Actor.Attributes.name}}'\n" +
			"  tandem events --since 1h --until 0s --json | jq -r .action",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if as.text == "json" {
				as.text = "{{json .}}" // there is no end to a list of them
			}
			documents, err := as.parse()
			if err != nil {
				return err
			}
			o, err := eventTimes(since, until, time.Now())
			if err != nil {
				return err
			}
			if _, err := (box.Event{}).Matches(filters); err != nil {
				return err
			}
			home, err := box.Open()
			if err != nil {
				return err
			}
			err = home.Events(cmd.Context(), o, func(e box.Event) error {
				if ok, err := e.Matches(filters); !ok {
					return err
				}
				switch {
				case documents != nil:
					return as.print(cmd.OutOrStdout(), documents, []format.Document{{Docker: dockerEventOf(e), Own: e}})
				case asJSON:
					return printJSONLine(cmd.OutOrStdout(), e)
				}
				return printEvent(cmd.OutOrStdout(), e)
			})
			if errors.Is(err, context.Canceled) {
				return exitStatus(statusInterrupted)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "also what was since `TIME`")
	cmd.Flags().StringVar(&until, "until", "", "end at `TIME`")
	cmd.Flags().StringArrayVarP(&filters, "filter", "f", nil, "print what passes `NAME=VALUE` alone")
	as.register(cmd.Flags(), "")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	cmd.MarkFlagsMutuallyExclusive("format", "json")
	return cmd
}

func eventTimes(since, until string, now time.Time) (o box.EventOptions, err error) {
	if since != "" {
		if o.Since, err = box.ParseTime(since, now); err != nil {
			return o, fmt.Errorf("--since: %w", err)
		}
	}
	if until != "" {
		if o.Until, err = box.ParseTime(until, now); err != nil {
			return o, fmt.Errorf("--until: %w", err)
		}
	}
	return o, nil
}

// dockerEvent is docker's message of an event.
type dockerEvent struct {
	Status   string      `json:"status"`
	ID       string      `json:"id"`
	From     string      `json:"from"`
	Type     string      `json:"Type"`
	Action   string      `json:"Action"`
	Actor    dockerActor `json:"Actor"`
	Scope    string      `json:"scope"`
	Time     int64       `json:"time"`
	TimeNano int64       `json:"timeNano"`
}

type dockerActor struct {
	ID         string
	Attributes map[string]string // labels too
}

func dockerEventOf(e box.Event) dockerEvent {
	about := map[string]string{}
	maps.Copy(about, e.Labels)
	maps.Copy(about, e.Attributes)
	about["name"] = e.Name
	if e.Image != "" {
		about["image"] = e.Image
	}
	return dockerEvent{e.Action, e.ID, e.Image, e.Type, e.Action, dockerActor{e.ID, about}, "local", e.Time.Unix(), e.Time.UnixNano()}
}

// printEvent writes a line as docker does: the time, what it is of, what happened, and in parentheses the rest.
func printEvent(w io.Writer, e box.Event) error {
	var words []string
	if e.Image != "" {
		words = append(words, "image="+e.Image)
	}
	words = append(words, "name="+e.Name)
	for _, list := range []map[string]string{e.Attributes, e.Labels} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			words = append(words, name+"="+list[name])
		}
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s (%s)\n", e.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), e.Type, e.Action, e.ID, strings.Join(words, ", "))
	return err
}
