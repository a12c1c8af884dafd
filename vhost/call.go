package vhost

import (
	"fmt"

	"tandem/internal/eventfd"
	"tandem/virtio/queue"
)

// Call is the eventfd by which one who serves a queue elsewhere calls its driver.
type Call struct {
	event *eventfd.FD
	done  chan struct{} // closed when the relay has ended; nil without one
}

// NewCall gives the eventfd of an interrupt. An interrupt that has none (a pin, whose
// status register has to be set first) gets one that a goroutine relays: then each
// call costs a wake-up of this process.
func NewCall(i queue.Interrupt) (*Call, error) {
	if e := i.Event(); e != nil {
		return &Call{event: e}, nil
	}
	e, err := eventfd.New()
	if err != nil {
		return nil, fmt.Errorf("vhost: make call: %w", err)
	}
	c := &Call{event: e, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			if _, err := e.Wait(); err != nil {
				return // closed
			}
			i.Signal()
		}
	}()
	return c, nil
}

// Event is what to signal. It is valid until Close, as is its descriptor.
func (c *Call) Event() *eventfd.FD { return c.event }

// Relayed tells whether calls go by way of this process.
func (c *Call) Relayed() bool { return c.done != nil }

// Close ends the relay. Whoever signals the eventfd has to have stopped; a call that
// was not yet relayed is dropped.
func (c *Call) Close() {
	if c.done != nil {
		c.event.Close()
		<-c.done
	}
}
