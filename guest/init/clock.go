package guestinit

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// stepClock moves the wall clock.
func stepClock(by time.Duration) error {
	_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: clockStep(by)})
	if err != nil {
		return fmt.Errorf("adjtimex: %w", err)
	}
	return nil
}

// clockStep writes a duration as ADJ_SETOFFSET and ADJ_NANO want it, adjtimex(2): tv_usec is nanoseconds then, and is
// never negative, so that -0.25 s are -1 s and 750 million.
func clockStep(by time.Duration) unix.Timeval {
	t := unix.Timeval{Sec: int64(by / time.Second), Usec: int64(by % time.Second)}
	if t.Usec < 0 {
		t.Sec, t.Usec = t.Sec-1, t.Usec+int64(time.Second)
	}
	return t
}
