package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

func newStartCommand() *cobra.Command {
	var attach attachFlags
	var attached bool
	cmd := &cobra.Command{
		Use:   "start [flags] CONTAINER...",
		Short: "Start containers that have ended, or were never started",
		Long: "Starts containers again, detached, with what they have written to their files. One that runs is left alone.\n" +
			"What a container on a --rootfs wrote was thrown away at its end.\n" +
			"With --attach or --interactive it is of one container, and ends as that ends, with its status.",
		Example: "  tandem start web db\n  tandem start -ai shell",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !attached && !attach.interactive {
				how := box.Handover{Warn: warnTo(cmd)}
				return boxError(eachBox(cmd, args, func(r *box.Record) error { return r.Begin(cmd.Context(), how) }))
			}
			if len(args) > 1 {
				return errors.New("start: --attach and --interactive are for one container")
			}
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			attach.proxy = attach.proxy && !r.Options.TTY
			if s := r.Status(); s == box.Running || s == box.Paused || s == box.Restarting {
				return attachBox(cmd, r, attach, catchAll())
			}
			received := catchAll()
			if err := r.Begin(cmd.Context(), attachHandover(cmd)); err != nil {
				return boxError(err)
			}
			return attachBox(cmd, r, attach, received)
		},
	}
	cmd.Flags().BoolVarP(&attached, "attach", "a", false, "show its output, and pass signals on")
	cmd.Flags().BoolVarP(&attach.interactive, "interactive", "i", false, "send it standard input too")
	attach.register(cmd.Flags())
	return cmd
}

func newRestartCommand() *cobra.Command {
	seconds, name := -1, ""
	cmd := &cobra.Command{
		Use:     "restart [flags] CONTAINER...",
		Short:   "Stop containers, and start them again",
		Long:    "Asks containers to end, kills those that have not in time, as tandem stop does, and starts them again.",
		Example: "  tandem restart web\n  tandem restart -t 0 web db",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return boxError(eachBox(cmd, args, func(r *box.Record) error {
				if r.Options.Remove {
					return fmt.Errorf("restart: %s has --rm, and would be gone", r.Name)
				}
				s, err := stopSignal(r, name)
				if err != nil {
					return err
				}
				limit := time.Duration(-1)
				if seconds >= 0 {
					limit = time.Duration(seconds) * time.Second
				}
				return r.Again(cmd.Context(), s, limit)
			}))
		},
	}
	cmd.Flags().IntVarP(&seconds, "time", "t", -1, "`SECONDS` that it has to end (default: its --stop-timeout, 10)")
	cmd.Flags().StringVarP(&name, "signal", "s", "", "ask by `SIGNAL`")
	return cmd
}
