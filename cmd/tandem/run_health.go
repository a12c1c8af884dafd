package main

import (
	"errors"

	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/box"
	"tandem/container/image"
)

// healthFlags are those of how a container's health is tested.
type healthFlags struct {
	check image.Healthcheck
	line  string
	none  bool
}

func (f *healthFlags) register(flags *pflag.FlagSet) {
	c := &f.check
	flags.StringVar(&f.line, "health-cmd", "", "test its health by a `LINE` for its /bin/sh: status 0 is health")
	flags.DurationVar(&c.Interval, "health-interval", 0, "pause between two tests, such as 10s or 1m30s (default: the image's, or 30s)")
	flags.DurationVar(&c.Timeout, "health-timeout", 0, "how long a test may take before it is killed, and has failed (default: the image's, or 30s)")
	flags.IntVar(&c.Retries, "health-retries", 0, "so many tests in a row that fail are ill health (default: the image's, or 3)")
	flags.DurationVar(&c.StartPeriod, "health-start-period", 0, "at first, the time in which a test that fails does not count")
	flags.DurationVar(&c.StartInterval, "health-start-interval", 0, "pause between two tests in that time (default: the image's, or 5s)")
	flags.BoolVar(&f.none, "no-healthcheck", false, "do not test its health, whatever the image says")
}

// settle gives nil where the flags say nothing.
func (f *healthFlags) settle(flags *pflag.FlagSet) (*image.Healthcheck, error) {
	given := false
	for _, name := range []string{"cmd", "interval", "timeout", "retries", "start-period", "start-interval"} {
		given = given || flags.Changed("health-"+name)
	}
	switch {
	case f.none && given:
		return nil, errors.New("--no-healthcheck with --health-...: test its health, or not?")
	case f.none:
		return &image.Healthcheck{Test: box.NoTest()}, nil
	case !given:
		return nil, nil
	}
	c := f.check
	if f.line != "" {
		c.Test = box.ShellTest(f.line)
	}
	return &c, nil
}
