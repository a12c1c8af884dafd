package machine

import (
	"context"
	"fmt"
	"os"
	"time"

	"tandem/virtio/balloon"
)

// BalloonTarget is how much of its memory a guest is asked to give up.
type BalloonTarget struct {
	Target uint64 `json:"target"` // bytes
}

// BalloonInfo is what the API tells of the balloon. Sizes are in bytes.
type BalloonInfo struct {
	BalloonTarget
	Actual uint64 `json:"actual"` // what the guest's driver says that it has given up
	// Resident is what the host holds in memory for the monitor's process: the guest's memory, for the most part.
	Resident uint64 `json:"resident"`
	balloon.Counters
	// Statistics are nil if the guest gives none.
	Statistics *balloon.Statistics `json:"statistics,omitempty"`
}

const errNoBalloon = "the VM has no balloon: tandem vm run --balloon"

// answerTime is how long a guest may take to give new statistics. A paused one gives none.
const answerTime = time.Second

func balloonInfo(ctx context.Context, b *balloon.Device) BalloonInfo {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var info BalloonInfo
	if s, err := b.Refresh(ctx); err == nil || !s.Time.IsZero() {
		info.Statistics = &s
	}
	info.Target, info.Actual = b.Size()
	info.Counters, info.Resident = b.Counters(), resident()
	return info
}

// resident is this process's memory that is there; 0 if it cannot be told.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
