package frontend

import "time"

// SetTimeout is how long the back-end of the moment may take for an answer from here on. One that comes after it has the time
// of the Spec.
func (d *Device) SetTimeout(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link.timeout = t
}
