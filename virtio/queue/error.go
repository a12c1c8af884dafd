package queue

import "fmt"

// Error says how a driver broke a ring.
type Error struct {
	Queue  int    // the queue's number in its device
	Head   uint16 // the chain's first descriptor, if it got that far
	Index  uint16 // the chain's available index
	Reason string
	Err    error // the cause, if there is one below
}

func (e *Error) Error() string {
	s := fmt.Sprintf("queue: take chain from queue %d (head %d, index %d): %s", e.Queue, e.Head, e.Index, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Broken makes the error for a chain that is sound as a ring goes, but that the
// device can do nothing with: not even tell the driver so in it.
func (q *Queue) Broken(c *Chain, reason string) error {
	return q.fail(c.broken("%s", reason))
}

// fail marks the queue as dead. Only the queue knows its number.
func (q *Queue) fail(err *Error) error {
	err.Queue = q.cfg.Index
	q.broken = err
	return err
}

func (c *Chain) broken(format string, args ...any) *Error {
	return &Error{Head: c.Head, Index: c.Index, Reason: reasonf(format, args...)}
}

func (c *Chain) brokenBy(err error, what string) *Error {
	return &Error{Head: c.Head, Index: c.Index, Reason: what, Err: err}
}

func reasonf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
