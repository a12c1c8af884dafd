package lab

import (
	"context"
	"time"

	"tandem/guest/agent"
)

// The lab's kernel reads its clock chip once, at boot, and to the second. Files that the host has just written would lie
// in the lab's future; so its clock is put right when the agent answers, and keeps up with the host's from then on, as
// both count by the same counter.

// setClock sets the lab's clock by this host's.
func setClock(ctx context.Context, c *agent.Client) error {
	ahead, err := clockAhead(ctx, c)
	if err != nil {
		return err
	}
	return c.StepClock(ctx, -ahead)
}

// clockAhead measures how far the lab's clock is ahead of this host's. The lab is asked a few times, and the quickest
// answer counts, as it has least room for an error: half of the time that it took.
func clockAhead(ctx context.Context, c *agent.Client) (time.Duration, error) {
	const tries = 5
	var ahead, quickest time.Duration
	for i := range tries {
		sent := time.Now()
		info, err := c.Info(ctx)
		if err != nil {
			return 0, err
		}
		if took := time.Since(sent); i == 0 || took < quickest {
			quickest = took
			ahead = info.Time.Sub(sent.Add(took / 2))
		}
	}
	return ahead, nil
}
