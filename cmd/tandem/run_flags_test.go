package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

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
