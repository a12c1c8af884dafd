package kvm

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// descriptor is a file descriptor that is never used after it is closed,
// although ioctls and Close may run at the same time.
//
// The number of a closed descriptor is soon given to another file, so an
// ioctl on it would reach a stranger. Hence every use counts: Close only
// marks, and the last one out closes.
type descriptor struct {
	fd      int
	state   atomic.Int64 // users, plus closedBit once Close was called
	release func()       // run once, just before the descriptor is closed; may be nil
	object  string       // for errors and traces: "system", "vm", "vcpu 0"
	trace   Tracer       // nil when nobody listens
	vm      *descriptor  // of a vCPU; nil for others
}

const closedBit = 1 << 62

func newDescriptor(fd int, object string, trace Tracer) *descriptor {
	return &descriptor{fd: fd, object: object, trace: trace}
}

// acquire must be paired with done. It fails once Close was called.
func (d *descriptor) acquire() bool {
	if d.state.Add(1) < closedBit {
		return true
	}
	d.done()
	return false
}

func (d *descriptor) done() {
	if d.state.Add(-1) == closedBit {
		d.finish()
	}
}

// close marks the descriptor closed. Calling it again does nothing.
func (d *descriptor) close() error {
	for {
		old := d.state.Load()
		if old >= closedBit {
			return nil
		}
		if d.state.CompareAndSwap(old, old+closedBit) {
			if old == 0 {
				return d.finish()
			}
			return nil
		}
	}
}

// finish runs when the state is closed and without users. A late acquire can
// bring it there once more, so a second state keeps it to one time.
func (d *descriptor) finish() error {
	if !d.state.CompareAndSwap(closedBit, finished) {
		return nil
	}
	if d.release != nil {
		d.release()
	}
	if err := unix.Close(d.fd); err != nil {
		return &Error{Op: "close", Object: d.object, Err: err}
	}
	return nil
}

// finished is closedBit with a bias that users coming and going cannot cross.
const finished = closedBit + 1<<40
