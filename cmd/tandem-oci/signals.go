package main

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/internal/signals"
)

// interruptible is a context that ends when somebody wants this process to end: a verb undoes then what it has done so far.
func interruptible() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan syscall.Signal, 1)
	go func() {
		<-asked
		cancel()
	}()
	// If it fails they end the process at once, as others do.
	_ = signals.Relay(asked, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	return ctx
}

// forwardSignals passes on what this process is sent, until it ends. What the process may be asked for by means of the
// terminal's size is resize's.
func forwardSignals(send func(syscall.Signal) error, resize func()) error {
	caught := make(chan syscall.Signal, 64)
	if err := signals.Relay(caught, signals.Relayed...); err != nil {
		return err
	}
	go func() {
		for s := range caught {
			switch s {
			case unix.SIGPIPE: // this process's own
			case unix.SIGWINCH:
				resize()
			default:
				_ = send(s) // it may have ended: Wait tells
			}
		}
	}()
	return nil
}
