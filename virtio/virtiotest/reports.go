package virtiotest

import (
	"slices"
	"sync"
)

// Reports collects what a device reports. Its methods may be called at the same time: a device reports from goroutines of its
// own, and that a guest sees a chain used does not order what it reads after what the device did, as far as Go can tell.
type Reports struct {
	mu   sync.Mutex
	list []error
}

// Add is what a device gets as its Report.
func (r *Reports) Add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, err)
}

// All gives what was reported by now, in order.
func (r *Reports) All() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}
