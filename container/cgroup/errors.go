package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What an error may be asked for with errors.Is.
var (
	// ErrNotSupported is what this host, its version of cgroups or this package has not got.
	ErrNotSupported = errors.New("not supported")
	// ErrNotPermitted is a group that the caller may not write to: a rootless engine goes on without limits, if its
	// user allows that.
	ErrNotPermitted = errors.New("not permitted")
	// ErrInvalid is a value that the specification does not allow, or that contradicts another.
	ErrInvalid = errors.New("invalid")
	// ErrInUse is a group that holds processes already.
	ErrInUse = errors.New("group holds processes")
	// ErrFrozen is a group whose processes stand still, as would the one that joins it.
	ErrFrozen = errors.New("group is frozen")
	// ErrGone is a group that is there no more.
	ErrGone = errors.New("group is gone")
)

// FieldError is a field of the runtime specification that cannot be had as it stands. It wraps ErrInvalid or
// ErrNotSupported.
type FieldError struct {
	Field string // as in config.json: "linux.resources.memory.limit"
	Value any
	Err   error
}

func (e *FieldError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("cgroup: %s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("cgroup: %s %v: %v", e.Field, e.Value, e.Err)
}

func (e *FieldError) Unwrap() error { return e.Err }

// MissingError is a controller that a field asks for and that this host does not offer. It is ErrNotSupported.
type MissingError struct {
	Controller string // "memory"
	Field      string // "linux.resources.memory.limit"
	Reason     string // "not mounted"
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("cgroup: %s: controller %s: %s", e.Field, e.Controller, e.Reason)
}

// Is makes every MissingError an ErrNotSupported.
func (e *MissingError) Is(target error) bool { return target == ErrNotSupported }

// notMounted is for what is asked of a group that has no hierarchy for it.
func notMounted(controller, field string) error {
	return &MissingError{controller, field, "no cgroup hierarchy that is mounted here has it"}
}

func invalid(field string, value any, format string, args ...any) error {
	return &FieldError{field, value, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))}
}

func unsupported(field string, value any, format string, args ...any) error {
	return &FieldError{field, value, fmt.Errorf("%w: %s", ErrNotSupported, fmt.Sprintf(format, args...))}
}

// denied marks the ways in which the kernel says that a group is not the caller's.
func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	return err
}
