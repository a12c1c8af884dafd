package container

import "errors"

// Errors that callers tell apart, with errors.Is. Their words are runc's, as those who run a runtime by its command line go by
// them: containerd looks for "container not running", podman for "does not exist".
var (
	ErrExists     = errors.New("container with given ID already exists")
	ErrNotFound   = errors.New("container does not exist")
	ErrRunning    = errors.New("container is not stopped")
	ErrNotRunning = errors.New("container not running")
	ErrPaused     = errors.New("container is paused")
	ErrNotCreated = errors.New("container is not in the created state")
	ErrInvalid    = errors.New("invalid configuration")
	// ErrNotSupported is something that the specification has and this host or tandem has not.
	ErrNotSupported = errors.New("not supported")
)
