package limit

import (
	"testing"
	"time"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newLimiter(t *testing.T, l Limits) (*Limiter, *clock) {
	t.Helper()
	c := &clock{t: time.Unix(1000, 0)}
	limiter := &Limiter{now: c.now}
	if err := limiter.Set(l); err != nil {
		t.Fatal(err)
	}
	return limiter, c
}

// TestMeanIsTheRate spends as fast as it is allowed for a minute of a clock that it drives itself.
func TestMeanIsTheRate(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit Limits
		size  uint64
		want  uint64 // bytes in a minute
	}{
		{"bytes", Limits{Bytes: Rate{PerSecond: 1e6, Burst: 2e5}}, 1500, 60e6 + 2e5},
		{"packets above the burst", Limits{Bytes: Rate{PerSecond: 1e6, Burst: 1}}, 65000, 60e6},
		{"operations", Limits{Ops: Rate{PerSecond: 1000, Burst: 1}}, 100, 60 * 1000 * 100},
		{"the tighter of both", Limits{Bytes: Rate{PerSecond: 1e6, Burst: 1}, Ops: Rate{PerSecond: 100, Burst: 1}}, 100, 60 * 100 * 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, c := newLimiter(t, test.limit)
			end, spent := c.t.Add(time.Minute), uint64(0)
			for c.t.Before(end) {
				if d := l.Wait(); d > 0 {
					c.t = c.t.Add(d)
					continue
				}
				l.Spend(test.size)
				spent += test.size
			}
			if slack := test.want/1000 + test.size; spent < test.want-slack || spent > test.want+slack {
				t.Errorf("%d bytes in a minute, want %d", spent, test.want)
			}
		})
	}
}

func TestNoLimit(t *testing.T) {
	var l Limiter
	for range 10 {
		if d := l.Wait(); d != 0 {
			t.Fatalf("waits %v without a limit", d)
		}
		l.Spend(1 << 40)
	}
}

func TestPauseFillsNoMoreThanTheBurst(t *testing.T) {
	l, c := newLimiter(t, Limits{Ops: Rate{PerSecond: 10, Burst: 3}})
	c.t = c.t.Add(time.Hour)
	n := 0
	for l.Wait() == 0 {
		l.Spend(1)
		n++
	}
	if n != 3 {
		t.Errorf("%d operations at once after a pause, want 3", n)
	}
}

func TestSetWhileInDebt(t *testing.T) {
	l, _ := newLimiter(t, Limits{Bytes: Rate{PerSecond: 1}})
	l.Spend(1 << 30)
	if d := l.Wait(); d < time.Hour {
		t.Fatalf("waits %v for a gigabyte at a byte a second", d)
	}
	if err := l.Set(Limits{}); err != nil {
		t.Fatal(err)
	}
	if d := l.Wait(); d != 0 {
		t.Errorf("waits %v when the limit is gone", d)
	}
}

func TestCheck(t *testing.T) {
	for _, l := range []Limits{
		{Bytes: Rate{Burst: 1}},
		{Ops: Rate{Burst: 1}},
		{Bytes: Rate{PerSecond: Max + 1}},
		{Ops: Rate{PerSecond: 1, Burst: Max + 1}},
	} {
		if new(Limiter).Set(l) == nil {
			t.Errorf("took %+v", l)
		}
	}
}

// TestOnSet has those who wait told of a change, after it.
func TestOnSet(t *testing.T) {
	var l Limiter
	told := 0
	l.OnSet(func() {
		told++
		if d := l.Wait(); d != 0 {
			t.Errorf("waits %v after the limit was lifted", d)
		}
	})
	if err := l.Set(Limits{Ops: Rate{PerSecond: 1}}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		l.Spend(1)
	}
	if l.Wait() == 0 {
		t.Error("does not wait for a limit of 1 a second")
	}
	if err := l.Set(Limits{}); err != nil || told != 2 {
		t.Errorf("Set = %v, told %d times, want 2", err, told)
	}
	if err := l.Set(Limits{Bytes: Rate{Burst: 1}}); err == nil || told != 2 {
		t.Errorf("a refused change: %v, told %d times", err, told)
	}
}
