package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
)

func newStopCommand() *cobra.Command {
	seconds, name := -1, ""
	cmd := &cobra.Command{
		Use:   "stop [flags] CONTAINER...",
		Short: "Ask containers to end, and kill those that do not",
		Long: "Sends each container its stop signal (TERM, if neither it nor its image says another), and SIGKILL to one that\n" +
			"has not ended in time. Returns when it has ended, and its network and cgroup are gone.",
		Example: "  tandem stop web\n  tandem stop -t 1 web db",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachBox(cmd, args, func(r *box.Record) error {
				s, err := stopSignal(r, name)
				if err != nil {
					return err
				}
				limit := time.Duration(-1)
				if seconds >= 0 {
					limit = time.Duration(seconds) * time.Second
				}
				return r.Stop(cmd.Context(), s, limit)
			})
		},
	}
	cmd.Flags().IntVarP(&seconds, "time", "t", -1, "`SECONDS` that it has to end (default: its --stop-timeout, 10)")
	cmd.Flags().StringVarP(&name, "signal", "s", "", "ask by `SIGNAL`")
	return cmd
}

func stopSignal(r *box.Record, name string) (syscall.Signal, error) {
	for _, name := range []string{name, r.Options.StopSignal, r.ImageConfig.StopSignal} {
		if name != "" {
			return box.ParseSignal(name)
		}
	}
	return unix.SIGTERM, nil
}

func newKillCommand() *cobra.Command {
	name := "KILL"
	cmd := &cobra.Command{
		Use:   "kill [flags] CONTAINER...",
		Short: "Send containers a signal",
		Long: "Sends a signal to each container's first process. That gets none, other than KILL and STOP, that it has no\n" +
			"handler for.",
		Example: "  tandem kill web\n  tandem kill -s HUP web",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := box.ParseSignal(name)
			if err != nil {
				return fmt.Errorf("--signal: %w", err)
			}
			return eachBox(cmd, args, func(r *box.Record) error {
				stop, err := stopSignal(r, "")
				if err != nil {
					return err
				}
				return r.Kill(cmd.Context(), s, stop)
			})
		},
	}
	cmd.Flags().StringVarP(&name, "signal", "s", name, "`SIGNAL`, a name or number")
	return cmd
}
