package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel's real-time signals, and the lowest that the C library leaves to programs (the two below are its own).
const (
	lastSignal = 64
	sigRTMin   = 34
)

// parseSignal reads a signal: "9", "KILL", "SIGKILL", "RTMIN+3", "RTMAX-1".
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > lastSignal {
			return 0, fmt.Errorf("signal %d: want 1 to %d", n, lastSignal)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		if s, ok := realTime(sigRTMin, "+", rest); ok {
			return s, nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		if s, ok := realTime(lastSignal, "-", rest); ok {
			return s, nil
		}
	}
	return 0, fmt.Errorf("signal %q: want a number, or a name such as TERM", text)
}

// realTime is a real-time signal by its distance from the first or the last.
func realTime(base int, sign, distance string) (syscall.Signal, bool) {
	if distance == "" {
		return syscall.Signal(base), true
	}
	digits, ok := strings.CutPrefix(distance, sign)
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || int(n) > lastSignal-sigRTMin {
		return 0, false
	}
	if sign == "-" {
		return syscall.Signal(base - int(n)), true
	}
	return syscall.Signal(base + int(n)), true
}

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
