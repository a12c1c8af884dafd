package agent

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/guest/agent/agentpb"
	"tandem/guest/program"
)

var (
	// ErrNotExecutable is a program that is there and that the guest's kernel does not execute.
	ErrNotExecutable = program.ErrNotExecutable
	// ErrClosed is a session that has ended.
	ErrClosed = errors.New("session closed")
	// ErrEnding is a machine that ends already, for another reason than this client.
	ErrEnding = errors.New("the machine is ending already")
	// ErrNoClient is a stream that ended before a client came.
	ErrNoClient = errors.New("no client came")
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

func (e *ExitError) Error() string {
	switch {
	case e.Signal == 0:
		return fmt.Sprintf("exit status %d", e.Code)
	case e.CoreDumped:
		return fmt.Sprintf("signal: %v (core dumped)", e.Signal)
	}
	return fmt.Sprintf("signal: %v", e.Signal)
}

// The statuses of a command that could not be run, as in POSIX XCU 2.8.2; the first is env(1)'s and docker's.
const (
	statusFailed        = 125
	statusNotExecutable = 126
	statusNotFound      = 127
	statusSignal        = 128 // and the signal
)

// ExitStatus is the status that a shell would give for a Run's error: 0 for nil, a command's own, 128 and the signal
// that ended it, 127 for a command not found, 126 for one that is not executable, and 125 for every other error.
func ExitStatus(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Signal != 0:
		return statusSignal + int(exit.Signal)
	case exit != nil:
		return exit.Code
	case errors.Is(err, exec.ErrNotFound):
		return statusNotFound
	case errors.Is(err, ErrNotExecutable):
		return statusNotExecutable
	}
	return statusFailed
}

// failureOf is how the protocol says why a command could not be run.
func failureOf(err error) agentpb.Failure {
	switch {
	case errors.Is(err, program.ErrNotFound):
		return agentpb.Failure_NOT_FOUND
	case errors.Is(err, ErrNotExecutable):
		return agentpb.Failure_NOT_EXECUTABLE
	}
	return agentpb.Failure_OTHER
}

// isForgotten tells whether a request came too late: its command has ended and been waited for.
func isForgotten(err error) bool { return status.Code(err) == codes.NotFound }
