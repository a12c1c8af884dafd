// Package limit holds what a device may move in a second: token buckets for bytes and for operations, which can be
// changed while the device is at work.
//
//	         rate tokens a second
//	               |
//	               v
//	+----------------------------+
//	| . . . . .  burst at most   |   Wait: is there anything in it?
//	+----------------------------+
//	               |
//	               v  Spend: what an operation turned out to cost
//
// An operation begins when the bucket is not empty, and may cost more than is in it: the bucket then owes, and nothing
// begins until that is paid. So a packet that is larger than the burst still goes, and the mean is the rate.
package limit

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Rate is a bound. The zero Rate is none.
type Rate struct {
	PerSecond uint64 `json:"perSecond"` // tokens; 0 for no bound
	Burst     uint64 `json:"burst"`     // tokens that may be spent at once after a pause; PerSecond if 0
}

// Limits bound bytes and operations.
type Limits struct {
	Bytes Rate `json:"bytes"`
	Ops   Rate `json:"ops"`
}

// Max is the largest rate and burst.
const Max = 1 << 50

// Check tells what is wrong with limits.
func (l Limits) Check() error {
	for _, r := range []struct {
		name string
		Rate
	}{{"bytes", l.Bytes}, {"operations", l.Ops}} {
		switch {
		case r.PerSecond > Max || r.Burst > Max:
			return fmt.Errorf("limit: %d %s a second, burst %d: want at most %d", r.PerSecond, r.name, r.Burst, uint64(Max))
		case r.PerSecond == 0 && r.Burst != 0:
			return fmt.Errorf("limit: a burst of %d %s without a rate", r.Burst, r.name)
		}
	}
	return nil
}

// Limiter enforces Limits. The zero Limiter has none. All methods may be called from several goroutines at once.
type Limiter struct {
	mu         sync.Mutex
	limits     Limits
	bytes, ops bucket
	now        func() time.Time // time.Now if nil
	changed    func()

	bound atomic.Bool // there are limits: else nobody needs the lock
}

// OnSet has f called whenever Set has changed the limits, so that those who wait for the old ones look again. It is
// called before the Limiter is used.
func (l *Limiter) OnSet(f func()) { l.changed = f }

// Set changes the limits. The buckets are full then.
func (l *Limiter) Set(limits Limits) error {
	if err := limits.Check(); err != nil {
		return err
	}
	l.set(limits)
	if l.changed != nil {
		l.changed()
	}
	return nil
}

func (l *Limiter) set(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	l.limits = limits
	l.bytes, l.ops = newBucket(limits.Bytes, now), newBucket(limits.Ops, now)
	l.bound.Store(limits.Bytes.PerSecond != 0 || limits.Ops.PerSecond != 0)
}

// Limits are those that are in force.
func (l *Limiter) Limits() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits
}

// Wait is how long to wait before the next operation may begin; 0 if it may now. By then the limits may be others: ask
// again.
func (l *Limiter) Wait() time.Duration {
	if !l.bound.Load() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	return max(l.bytes.wait(now), l.ops.wait(now))
}

// Spend takes what an operation of n bytes costs.
func (l *Limiter) Spend(n uint64) {
	if !l.bound.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes.spend(n)
	l.ops.spend(1)
}

func (l *Limiter) time() time.Time {
	if l.now != nil {
		return l.now()
	}
	return time.Now()
}

// bucket holds tokens; fewer than none are owed.
type bucket struct {
	rate, burst float64
	tokens      float64
	filled      time.Time
}

func newBucket(r Rate, now time.Time) bucket {
	burst := r.Burst
	if burst == 0 {
		burst = r.PerSecond
	}
	return bucket{rate: float64(r.PerSecond), burst: float64(burst), tokens: float64(burst), filled: now}
}

func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if passed := now.Sub(b.filled).Seconds(); passed > 0 {
		b.tokens = min(b.burst, b.tokens+passed*b.rate)
		b.filled = now
	}
	if b.tokens > 0 {
		return 0
	}
	// One token is enough; and whatever the arithmetic, the wait is not nought.
	seconds := (1 - b.tokens) / b.rate
	return time.Duration(math.Min(math.Ceil(seconds*1e9), math.MaxInt64/2))
}

func (b *bucket) spend(n uint64) {
	if b.rate != 0 {
		b.tokens -= float64(n)
	}
}
