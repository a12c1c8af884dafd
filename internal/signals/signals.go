// Package signals reads signals as people write them: "9", "KILL", "SIGKILL", "RTMIN+3", "RTMAX-1".
package signals

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel's real-time signals, and the lowest that the C library leaves to programs (the two below are its own).
const (
	last  = 64
	rtMin = 34
)

// Parse reads a signal, in any mixture of cases. Zero is none.
func Parse(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > last {
			return 0, fmt.Errorf("signal %d: want 1 to %d", n, last)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		if s, ok := realTime(rtMin, "+", rest); ok {
			return s, nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		if s, ok := realTime(last, "-", rest); ok {
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
	if !ok || err != nil || int(n) > last-rtMin {
		return 0, false
	}
	if sign == "-" {
		return syscall.Signal(base - int(n)), true
	}
	return syscall.Signal(base + int(n)), true
}
