package guestinit

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stepClock itself is not called here: the machine's clock is the tester's. The lab's tests see it work.
func TestClockStep(t *testing.T) {
	for by, want := range map[time.Duration]unix.Timeval{
		0:                                  {},
		1500 * time.Millisecond:            {Sec: 1, Usec: 500_000_000},
		-250 * time.Millisecond:            {Sec: -1, Usec: 750_000_000},
		-2 * time.Second:                   {Sec: -2},
		-(3*time.Second + time.Nanosecond): {Sec: -4, Usec: 999_999_999},
	} {
		if got := clockStep(by); got != want {
			t.Errorf("clockStep(%v) = %+v, want %+v", by, got, want)
		}
	}
}
