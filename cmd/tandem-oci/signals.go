package main

import (
	"context"
	"slices"
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
	_ = signals.Relay(asked, ending...)
	return ctx
}

// ending are the signals by which a process is asked to end.
var ending = []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}

// heldSignals are those of this process that are for a command which it is about to start: one that comes too late to end the
// context is not lost, but is the command's.
type heldSignals chan syscall.Signal

func holdSignals() (heldSignals, error) {
	held := make(heldSignals, 64)
	return held, signals.Relay(held, ending...)
}

// forward passes on what was held, and whatever else this process is sent, until it ends. What the process may be asked for by
// means of the terminal's size is resize's.
func (caught heldSignals) forward(send func(syscall.Signal) error, resize func()) error {
	others := slices.DeleteFunc(slices.Clone(signals.Relayed), func(s syscall.Signal) bool { return slices.Contains(ending, s) })
	if err := signals.Relay(caught, others...); err != nil {
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
