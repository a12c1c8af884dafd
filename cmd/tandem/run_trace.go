package main

import (
	"fmt"
	"io"
	"time"

	"tandem/internal/plan"
)

// stepTrace prints a plan's steps as they run: when each began, and how long it took. The child's own steps have no
// clock, as it is nothing but system calls: they are printed when the parent begins to wait for them, and the wait is
// timed.
//
//	0.000412s      38us  mkdir /run/tandem/engine/4f...
//	0.000731s           | mount_setattr /
//	0.000733s     911us  sync mounted
type stepTrace struct {
	w     io.Writer
	begun time.Time
	last  *plan.Step
	at    time.Time
}

func (t *stepTrace) step(s *plan.Step) {
	now := time.Now()
	t.finish(now)
	if t.begun.IsZero() {
		t.begun = now
	}
	t.last, t.at = s, now
}

// end prints the last step.
func (t *stepTrace) end() { t.finish(time.Now()) }

func (t *stepTrace) finish(now time.Time) {
	if t.last == nil {
		return
	}
	since := t.at.Sub(t.begun).Seconds()
	if t.last.Do == nil {
		fmt.Fprintf(t.w, "%11.6fs           | %s\n", since, *t.last)
	} else {
		fmt.Fprintf(t.w, "%11.6fs %8dus  %s\n", since, now.Sub(t.at).Microseconds(), *t.last)
	}
	t.last = nil
}
