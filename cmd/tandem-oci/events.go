package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tandem/container/cgroup"
)

func newEventsCommand(g *global) *cobra.Command {
	var interval time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "events [flags] ID",
		Short: "Print what a container uses, and tell when it runs out of memory",
		Long: "Prints a line of JSON every interval with what the container has used so far (type stats), and one each\n" +
			"time it runs out of memory (type oom), until it ends.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval <= 0 {
				return usageError(cmd, "--interval %v: want more than 0", interval)
			}
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			group, err := c.Cgroup()
			if err == nil && group == nil {
				err = errors.New("the container has no cgroup of its own, and so no statistics")
			}
			if err != nil {
				return err
			}
			w := &eventWriter{id: c.ID(), group: group, encoder: json.NewEncoder(cmd.OutOrStdout())}
			if once {
				return w.stats()
			}
			return w.follow(cmd.Context(), interval)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", 5*time.Second, "print statistics every `TIME`")
	cmd.Flags().BoolVar(&once, "stats", false, "print statistics once")
	return cmd
}

// event is a line of the output, in runc's shape.
type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

type eventWriter struct {
	id      string
	group   *cgroup.Group
	encoder *json.Encoder
}

func (w *eventWriter) stats() error {
	s, err := w.group.Stats()
	if err != nil {
		return err
	}
	return w.encoder.Encode(event{"stats", w.id, s.Event()})
}

// follow ends with the group, or when the user has seen enough.
func (w *eventWriter) follow(ctx context.Context, interval time.Duration) error {
	ooms, err := w.group.WatchOOM(ctx)
	if err != nil {
		return fmt.Errorf("watch for lack of memory: %w", err)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := error(nil)
		select {
		case _, alive := <-ooms:
			if !alive {
				return nil
			}
			err = w.encoder.Encode(event{Type: "oom", ID: w.id})
		case <-tick.C:
			err = w.stats()
		}
		switch {
		case errors.Is(err, cgroup.ErrGone):
			return nil
		case err != nil:
			return err
		}
	}
}
