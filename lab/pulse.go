package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pulse is how a machine that hangs is told from one that is busy: it is asked something every now and then, and has to
// answer in time. Without that, who waits for a command in it would wait for ever.
type pulse struct {
	every time.Duration // between an answer and the next question
	limit time.Duration // for an answer
}

// defaultPulse leaves a machine time that runs guests of many vCPUs on the one CPU of a loaded host.
var defaultPulse = pulse{every: 15 * time.Second, limit: 2 * time.Minute}

// feel asks until ctx ends, or until an answer fails to come, of which it returns the error. An error that ask returns
// early is an answer: if the connection is broken, others will see it.
func (p pulse) feel(ctx context.Context, ask func(context.Context) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.every):
		}
		asked, cancel := context.WithTimeout(ctx, p.limit)
		err := ask(asked)
		cancel()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("it hangs: its agent has not answered for %v", p.limit)
		}
	}
}
