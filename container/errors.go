package container

import "errors"

// Errors that callers tell apart, with errors.Is.
var (
	ErrExists     = errors.New("container exists")
	ErrNotFound   = errors.New("container does not exist")
	ErrRunning    = errors.New("container is not stopped")
	ErrNotRunning = errors.New("container not running")
	ErrPaused     = errors.New("container is paused")
	ErrNotCreated = errors.New("container is not in the created state")
	ErrInvalid    = errors.New("invalid configuration")
	// ErrNotSupported is something that the specification has and this host or tandem has not.
	ErrNotSupported = errors.New("not supported")
)
