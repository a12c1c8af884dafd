package main

import (
	"errors"
	"fmt"
	"path"
	"syscall"

	"tandem/cmd/tandem/internal/box"
	"tandem/container/child"
)

// Exit statuses for a command that did not run, as shells have them.
const (
	statusCannotExecute = 126
	statusNoCommand     = 127
)

// failedCommand is a command that was not executed, with the exit status that tells why.
type failedCommand struct {
	status exitStatus
	err    error
}

func (e *failedCommand) Error() string { return e.err.Error() }

func (e *failedCommand) Unwrap() error { return e.err }

// boxError finds out whether it was the command that failed, or tandem.
func boxError(err error) error {
	var handed *box.StartError
	if errors.As(err, &handed) { // by the keeper of a detached box, which knows
		return statusOf(handed.Status, err)
	}
	var step *child.StepError
	if !errors.As(err, &step) || step.Op != "execve" && step.Op != "faccessat2" {
		return err
	}
	name := path.Base(step.Object)
	if errors.Is(step.Err, syscall.ENOENT) || errors.Is(step.Err, syscall.ENOTDIR) {
		return &failedCommand{statusNoCommand, fmt.Errorf("%s: command not found in the container: %w", name, err)}
	}
	return &failedCommand{statusCannotExecute, fmt.Errorf("%s: cannot be executed: %w", name, err)}
}

func statusOf(status int, err error) error {
	if status == statusFailed {
		return err
	}
	return &failedCommand{exitStatus(status), err}
}
