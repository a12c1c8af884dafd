package backend

import (
	"errors"
	"fmt"
	"os"

	"tandem/vhost/dirty"
	"tandem/vhost/user"
	"tandem/virtio/queue"
)

// setLog is SET_LOG_BASE: where dirty pages are to be marked, from the next SET_FEATURES with VHOST_F_LOG_ALL on, or at
// once if it came before.
//
// The answer has the size that libvhost-user's has. The specification leaves it open, and front-ends read none of it.
func (s *session) setLog(p user.Payload, m *user.Message, a *answer) error {
	l, ok := p.(user.Log)
	fd := m.TakeFD(0)
	if fd < 0 {
		return errors.New("a log without a file")
	}
	file := os.NewFile(uintptr(fd), "log")
	defer file.Close()
	if !ok {
		return fmt.Errorf("an address in place of size and offset: %w", user.ErrValue)
	}
	log, err := dirty.Open(file, l.Size, l.Offset)
	if err != nil {
		return err
	}
	if s.table.space != nil {
		if err := log.Covers(s.table.space); err != nil {
			log.Close()
			return err
		}
	}
	a.payload = user.U64(0)
	if s.features&(1<<user.FeatureLogAll) != 0 {
		s.stopAll() // those that run mark the old one, or nothing
	}
	s.dropLog()
	s.log = log
	return s.apply()
}

// dropLog forgets the log. No ring uses it.
func (s *session) dropLog() {
	if s.log != nil {
		s.log.Close()
		s.log = nil
	}
}

// logging tells whether rings mark what they write.
func (s *session) logging() bool { return s.log != nil && s.features&(1<<user.FeatureLogAll) != 0 }

// marker marks what one ring writes.
type marker struct {
	log  *dirty.Log
	used uint64 // the guest address that the used ring counts as
	ring bool   // the used ring is to be marked
}

// newMarker is what marks the pages that a ring writes: nil for nothing.
func (r *ring) newMarker() (queue.Marker, error) {
	s := r.session
	if !s.logging() {
		return nil, nil
	}
	// Memory may have changed since the log was set.
	if err := s.log.Covers(s.table.space); err != nil {
		return nil, err
	}
	m := &marker{log: s.log, used: r.addr.LogGuest, ring: r.addr.Flags&user.VringLog != 0}
	if n := 6 + 8*uint64(r.size); m.ring && !m.log.Holds(m.used, n) {
		return nil, fmt.Errorf("used ring logged at %#x, %#x long: %w", m.used, n, dirty.ErrTooSmall)
	}
	return m, nil
}

// Wrote implements queue.Marker.
func (m *marker) Wrote(gpa, n uint64) { m.log.Mark(gpa, n) }

// WroteUsed implements queue.Marker.
func (m *marker) WroteUsed(off, n uint64) {
	if m.ring {
		m.log.Mark(m.used+off, n)
	}
}
