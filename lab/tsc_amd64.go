package lab

import (
	"context"
	"time"
)

// A kernel finds the frequency of the processor's time stamp counter by looking how far it gets while another clock,
// emulated by a thread of QEMU's, ticks. On a busy host that thread is late, and the kernel arrives at a wrong
// frequency or at none, and then does not boot. Emulated processors read the host's counter, so it is measured here,
// where being late can be noticed, and told to the kernel (tsc_early_khz).

// readTSC reads the counter (RDTSC).
func readTSC() uint64

// minTSCSpan is how far apart two readings are. The clocks are read within some 100 ns of one another, so that the
// error is a few parts in a million.
const minTSCSpan = 40 * time.Millisecond

// tscReading is the counter and the time at one moment.
type tscReading struct {
	counter uint64
	at      time.Time
}

// readClocks reads both clocks. It tries again and again, and takes the two that were read in the shortest time: this
// thread may be preempted in between.
func readClocks() tscReading {
	const tries = 32
	var best tscReading
	var shortest uint64
	for i := range tries {
		before := readTSC()
		now := time.Now()
		took := readTSC() - before
		if i == 0 || took < shortest {
			best, shortest = tscReading{before + took/2, now}, took
		}
	}
	return best
}

// kilohertz is the counter's frequency since an earlier reading, which it waits for if that is too short a time.
func (r tscReading) kilohertz(ctx context.Context) (uint64, error) {
	if wait := minTSCSpan - time.Since(r.at); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	now := readClocks()
	ticks, elapsed := now.counter-r.counter, now.at.Sub(r.at)
	return uint64(float64(ticks) / elapsed.Seconds() / 1000), nil
}
