package box

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel's last signal, and the lowest real-time one that the C library leaves to programs.
const (
	lastSignal = 64
	sigRTMin   = 34
)

// ParseSignal reads a signal: "9", "KILL", "SIGKILL", "RTMIN+3".
func ParseSignal(text string) (syscall.Signal, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		name := "SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")
		if s := unix.SignalNum(name); s != 0 {
			return s, nil
		}
		rest, ok := strings.CutPrefix(name, "SIGRTMIN+")
		if n, err = strconv.Atoi(rest); !ok || err != nil || n < 0 {
			return 0, wrong("signal %q: want a number, or a name such as TERM", text)
		}
		n += sigRTMin
	}
	if n < 1 || n > lastSignal {
		return 0, fmt.Errorf("%w: signal %s: want 1 to %d", ErrOption, text, lastSignal)
	}
	return syscall.Signal(n), nil
}
