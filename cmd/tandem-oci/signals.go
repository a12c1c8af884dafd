package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwardSignals passes on what this process is sent, until stop is called. What the process may be asked for by means
// of the terminal's size is resize's.
func forwardSignals(send func(syscall.Signal) error, resize func()) (stop func()) {
	received := make(chan os.Signal, 64)
	signal.Notify(received)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range received {
			switch s := s.(syscall.Signal); s {
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG: // the last is how Go's scheduler interrupts a thread
			case unix.SIGWINCH:
				resize()
			default:
				_ = send(s) // it may have ended: Wait tells
			}
		}
	}()
	return func() {
		signal.Stop(received)
		close(received)
		<-done
	}
}
