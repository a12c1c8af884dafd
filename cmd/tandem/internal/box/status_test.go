package box

import (
	"testing"
	"time"

	"tandem/internal/process"
)

// TestStatusBetweenTimes has a keeper at work with no container in the engine: before the start, and after the end.
func TestStatusBetweenTimes(t *testing.T) {
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{ID: newID(), Keeper: self, home: &Home{Run: t.TempDir(), Data: t.TempDir()}}
	if got := r.Status(); got != Created {
		t.Errorf("before the start: %s", got)
	}
	r.Started = time.Now()
	if got := r.Status(); got != Running {
		t.Errorf("when it has ended, and that is not put down yet: %s", got)
	}
	r.LastExit = &Exit{}
	if got := r.Status(); got != Restarting {
		t.Errorf("between two lives: %s", got)
	}
	r.Exit = &Exit{}
	if got := r.Status(); got != Exited {
		t.Errorf("after its end: %s", got)
	}
}
