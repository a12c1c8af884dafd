package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tandem/container"
	guestinit "tandem/guest/init"
)

func main() {
	if guestinit.IsInit() {
		guestinit.Main()
	}
	if filepath.Base(os.Args[0]) == container.InitName && len(os.Args) > 1 {
		os.Exit(containerInit(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
