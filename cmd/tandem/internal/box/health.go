package box

import (
	"errors"
	"fmt"
	"time"

	"tandem/container/image"
)

// Health is what the tests of a box's health have found.
type Health struct {
	Status  HealthStatus `json:"status"`
	Failing int          `json:"failingStreak"` // tests in a row, the last of them
	Log     []Probe      `json:"log"`           // the last ones
}

// HealthStatus is what comes of the tests. A box without a healthcheck has none.
type HealthStatus string

// What a box's health may be.
const (
	HealthStarting  HealthStatus = "starting" // no test has told yet
	Healthy         HealthStatus = "healthy"
	HealthUnhealthy HealthStatus = "unhealthy"
)

// Probe is one test.
type Probe struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Status int       `json:"exitCode"` // -1 if it had none
	Output string    `json:"output"`   // the beginning
}

// The kinds of tests, as an image has them.
const (
	testNone    = "NONE"
	testCommand = "CMD"
	testShell   = "CMD-SHELL"
)

// Docker's defaults and limits.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	healthShortest      = time.Millisecond

	maxProbes      = 5
	maxProbeOutput = 4096
)

// ShellTest is a test by a line for a shell.
func ShellTest(line string) []string { return []string{testShell, line} }

// NoTest is no test, where the image has one.
func NoTest() []string { return []string{testNone} }

// checkHealth tells what is wrong with what a user or an image says. nil is nothing.
func checkHealth(h *image.Healthcheck) error {
	if h == nil {
		return nil
	}
	if len(h.Test) > 0 {
		switch kind, rest := h.Test[0], h.Test[1:]; {
		case kind == testNone && len(rest) == 0:
		case kind == testCommand && len(rest) > 0 && rest[0] != "":
		case kind == testShell && len(rest) == 1 && rest[0] != "":
		default:
			return wrong("healthcheck %q: want %s, %s with a command, or %s with a line", h.Test, testNone, testCommand, testShell)
		}
	}
	var errs []error
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"interval", h.Interval}, {"timeout", h.Timeout}, {"start-period", h.StartPeriod}, {"start-interval", h.StartInterval}} {
		if d.is != 0 && d.is < healthShortest {
			errs = append(errs, wrong("--health-%s %v: want %v or more, or 0 for the default", d.name, d.is, healthShortest))
		}
	}
	if h.Retries < 0 {
		errs = append(errs, wrong("--health-retries %d: want 1 or more, or 0 for the default", h.Retries))
	}
	return errors.Join(errs...)
}

// mergeHealth is what the user says, for the rest what the image says, and for the rest the default. nil is no test.
func mergeHealth(mine, theirs *image.Healthcheck) *image.Healthcheck {
	var h image.Healthcheck
	for _, from := range []*image.Healthcheck{mine, theirs} {
		if from == nil {
			continue
		}
		if len(h.Test) == 0 {
			h.Test = from.Test
		}
		for _, d := range []struct{ to, is *time.Duration }{
			{&h.Interval, &from.Interval}, {&h.Timeout, &from.Timeout}, {&h.StartPeriod, &from.StartPeriod}, {&h.StartInterval, &from.StartInterval},
		} {
			if *d.to == 0 {
				*d.to = *d.is
			}
		}
		if h.Retries == 0 {
			h.Retries = from.Retries
		}
	}
	if len(h.Test) == 0 || h.Test[0] == testNone {
		return nil
	}
	for _, d := range []struct {
		to    *time.Duration
		usual time.Duration
	}{{&h.Interval, healthInterval}, {&h.Timeout, healthTimeout}, {&h.StartInterval, healthStartInterval}} {
		if *d.to == 0 {
			*d.to = d.usual
		}
	}
	if h.Retries == 0 {
		h.Retries = healthRetries
	}
	return &h
}

// healthCommand is what a test executes.
func healthCommand(h *image.Healthcheck) []string {
	if h.Test[0] == testShell {
		return []string{"/bin/sh", "-c", h.Test[1]}
	}
	return h.Test[1:]
}

// note counts a test, and tells whether the status is another one now. In the start period one that fails changes nothing,
// and one that does not ends it.
func (h *Health) note(p Probe, retries int, starting bool) (changed bool) {
	before := h.Status
	h.Log = append(h.Log, p)
	if len(h.Log) > maxProbes {
		h.Log = h.Log[len(h.Log)-maxProbes:]
	}
	switch {
	case p.Status == 0:
		h.Status, h.Failing = Healthy, 0
	case starting && h.Status == HealthStarting:
	default:
		if h.Failing++; h.Failing >= retries {
			h.Status = HealthUnhealthy
		}
	}
	return h.Status != before
}

// startHealth is that of a box that starts.
func startHealth(check *image.Healthcheck) *Health {
	if check == nil {
		return nil
	}
	return &Health{Status: HealthStarting, Log: []Probe{}}
}

// setHealthcheck puts together what the user and the image say.
func (r *Record) setHealthcheck(theirs *image.Healthcheck) error {
	h := mergeHealth(r.Options.Health, theirs)
	if err := checkHealth(h); err != nil {
		return fmt.Errorf("the image's: %w; --no-healthcheck runs it without", err)
	}
	r.Healthcheck, r.Health = h, startHealth(h)
	return nil
}
