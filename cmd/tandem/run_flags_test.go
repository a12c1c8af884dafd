package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestRunCPUs(t *testing.T) {
	for line, want := range map[string]float64{
		"--cpus 0.5 x": 0.5, "--cpu-quota 50000 x": 0.5, "--cpu-quota 50000 --cpu-period 20000 x": 2.5, "x": 0,
		"--cpu-period 20000 x": -1, "--cpu-quota 0 x": -1, "--cpu-quota 1000 --cpu-period 0 x": -1, "--cpus 1 --cpu-quota 50000 x": -1, "--cpu-quota 1 x": -1,
	} {
		var f runFlags
		flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
		f.register(flags)
		if err := flags.Parse(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		o, err := f.settle(flags, flags.Args())
		if want < 0 && err == nil || want >= 0 && (err != nil || o.CPUs != want) {
			t.Errorf("%s: %+v, %v, want %v CPUs", line, o, err, want)
		}
	}
}

// TestRunCommand tells an image from its command, with or without two dashes between them.
func TestRunCommand(t *testing.T) {
	for _, test := range []struct{ line, image, hostname, command string }{
		{"busybox", "busybox", "", ""},
		{"busybox ls -l", "busybox", "", "ls -l"},
		{"busybox -- ls -- -l", "busybox", "", "ls -- -l"},
		{"-h web busybox ls -h", "busybox", "web", "ls -h"},
		{"--rootfs / ls -l", "", "", "ls -l"},
		{"--rootfs / -- ls -- -l", "", "", "ls -- -l"},
		{"-- busybox -- ls", "busybox", "", "ls"},
	} {
		var f runFlags
		flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
		f.register(flags)
		if err := flags.Parse(strings.Fields(test.line)); err != nil {
			t.Errorf("%s: %v", test.line, err)
			continue
		}
		o, err := f.settle(flags, flags.Args())
		if err != nil || o.Image != test.image || o.Hostname != test.hostname || !slices.Equal(o.Command, strings.Fields(test.command)) {
			t.Errorf("%s: %+v, %v", test.line, o, err)
		}
	}
}
