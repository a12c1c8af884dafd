package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	guestinit "tandem/guest/init"
)

func main() {
	if guestinit.IsInit() {
		guestinit.Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
