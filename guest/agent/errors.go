package agent

import (
	"errors"
	"syscall"
)

var (
	// ErrNotExecutable is a program that is there and that the guest's kernel does not execute.
	ErrNotExecutable = errors.New("not executable")
	// ErrClosed is a session that has ended.
	ErrClosed = errors.New("session closed")
)

// ExitError is a command's status other than 0.
type ExitError struct {
	// Code is the exit status; it means nothing if Signal is not 0.
	Code int
	// Signal is the signal that ended the command.
	Signal syscall.Signal
	// CoreDumped goes with Signal.
	CoreDumped bool
}

func (e *ExitError) Error() string { return "" }

// ExitStatus is the status that a shell would give for a Run's error: 0 for nil, a command's own, 128 and the signal
// that ended it, 127 for a command not found, 126 for one that is not executable, and 125 for every other error.
func ExitStatus(err error) int { return 0 }
