package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"tandem/internal/slack"
)

func main() {
	slack.Relax(slack.Short)
	// There is nothing here to do at the same time: a second processor only makes the runtime wake up threads that look for
	// work, and find none.
	runtime.GOMAXPROCS(1)
	// A verb that is interrupted undoes what it has done so far.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
