package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulse{every: 10 * time.Second, limit: time.Minute}
		began := time.Now()
		asked := 0
		err := p.feel(t.Context(), func(ctx context.Context) error {
			switch asked++; asked {
			case 1:
				return nil
			case 2:
				time.Sleep(59 * time.Second) // late, but in time
				return ctx.Err()
			case 3:
				return errors.New("an answer, too")
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "not answered for 1m0s") {
			t.Errorf("feel = %v", err)
		}
		if took := time.Since(began); asked != 4 || took != 4*10*time.Second+59*time.Second+time.Minute {
			t.Errorf("asked %d times in %v", asked, took)
		}
	})
}

// Nobody is told of a machine that went down while it was being asked.
func TestPulseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- pulse{every: time.Second, limit: time.Minute}.feel(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		time.Sleep(30 * time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("feel = %v, want %v", err, context.Canceled)
		}
	})
}
