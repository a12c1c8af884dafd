package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"tandem/internal/slack"
)

func main() {
	slack.Relax()
	// A verb that is interrupted undoes what it has done so far.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
