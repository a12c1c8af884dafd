package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/internal/signals"
)

// forwardSignals passes on what this process is sent, until it ends. What the process may be asked for by means of the
// terminal's size is resize's.
func forwardSignals(send func(syscall.Signal) error, resize func()) {
	caught := signals.Catch()
	go func() {
		for s := range caught {
			switch s := s.(syscall.Signal); s {
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG: // the last is how Go's scheduler interrupts a thread
			case unix.SIGWINCH:
				resize()
			default:
				_ = send(s) // it may have ended: Wait tells
			}
		}
	}()
}
