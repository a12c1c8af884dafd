package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tandem/lab"
)

func TestLabEnviron(t *testing.T) {
	t.Setenv("TERM", "vt100")
	t.Setenv("SECRET", "s")
	env, err := labEnviron([]string{"A=b=c", "SECRET", "NOT_SET_ANYWHERE", "TERM=dumb", "EMPTY="})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A=b=c", "SECRET=s", "EMPTY="} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	// Of two settings the last counts, for exec as for a shell.
	if slices.Index(env, "TERM=dumb") < slices.Index(env, "TERM=vt100") {
		t.Errorf("TERM=dumb does not come last in %q", env)
	}
	if slices.ContainsFunc(env, func(pair string) bool { return strings.HasPrefix(pair, "NOT_SET_ANYWHERE") }) {
		t.Errorf("a variable that is not set is in %q", env)
	}
	if _, err := labEnviron([]string{"=x"}); err == nil {
		t.Error("--env =x: no error")
	}
}

func TestLabOptions(t *testing.T) {
	f := addLabFlags(&cobra.Command{})
	if o := f.options(&status{}); o.Idle != lab.DefaultIdle || o.Accel != lab.Auto || o.CPUs != 0 || o.Memory != 0 {
		t.Errorf("options by default = %+v", o)
	}
	f.idle, f.memory, f.cpus, f.cmdline = 0, 1<<30, 3, "a b"
	if o := f.options(&status{}); o.Idle >= 0 || o.Memory != 1<<30 || o.CPUs != 3 || o.Append != "a b" {
		t.Errorf("options = %+v, want a lab that stays up", o)
	}
	for _, args := range [][]string{{"--accel=xen"}, {"--memory=lots"}, {"--idle=soon"}, {"--cpus=two"}} {
		if err := newLabUpCommand().ParseFlags(args); err == nil {
			t.Errorf("lab up %q: no error", args)
		}
	}
}

// What stands behind the command is the command's, even if it looks like a flag of ours.
func TestLabExecArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-w", "/", "ls", "-t", "--share"},
		{"-w", "/", "--", "ls", "-t", "--share"},
	} {
		cmd := newLabExecCommand()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if got, want := cmd.Flags().Args(), []string{"ls", "-t", "--share"}; !slices.Equal(got, want) {
			t.Errorf("lab exec %q runs %q, want %q", args, got, want)
		}
	}
}
