package backend

import (
	"fmt"
	"time"

	"tandem/vhost/user"
)

// channelTimeout is how long a front-end may leave our requests unread.
const channelTimeout = time.Second

// setChannel replaces the channel that our own requests go over.
func (s *session) setChannel(c *user.Conn) {
	if old := s.channel.Swap(c); old != nil {
		old.Close()
	}
}

// sendOnChannel sends a request if there is a channel. It is called in the device's
// goroutines. A front-end that reads none of them loses the channel.
func (s *session) sendOnChannel(r user.BackendRequest, p user.Payload) {
	c := s.channel.Load()
	if c == nil {
		return
	}
	err := c.SetWriteDeadline(time.Now().Add(channelTimeout))
	if err == nil {
		err = c.SendBackend(r, false, p)
	}
	if err != nil && s.channel.CompareAndSwap(c, nil) {
		c.Close()
		s.server.report(fmt.Errorf("backend: %v: %w", r, err))
	}
}
