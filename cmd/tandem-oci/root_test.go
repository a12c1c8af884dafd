package main

import (
	"strings"
	"testing"
)

// A command line means the same whether all verbs are made, or only those that it needs.
func TestVerbsAreMadeAsNeeded(t *testing.T) {
	execute := func(line, names []string) string {
		var out, errs strings.Builder
		root := newRootCommand(&global{log: logger{stderr: &errs}}, names...)
		root.SetArgs(line)
		root.SetOut(&out)
		root.SetErr(&errs)
		if err := root.Execute(); err != nil {
			errs.WriteString(err.Error())
		}
		return out.String() + "\n--\n" + errs.String()
	}
	for _, line := range []string{
		"", "-h", "--help", "help", "help run", "help nosuch", "help help run", "run --help", "--root run", "--root run --help", "run -h delete",
		"nosuch", "nosuch run", "run", "run a b", "run --nosuch", "--nosuch run", "exec run", "delete exec run --nosuch", "checkpoint a",
		"--version", "completion", "completion bash", "completion run", "RUN a", "-- run", "--root=run", "--root",
		"__complete ", "__complete r", "__complete run --", "__complete --root run ", "__complete --root run r", "__completeNoDesc run -",
	} {
		args := strings.Split(line, " ")
		if line == "" {
			args = []string{}
		}
		if got, want := execute(args, args), execute(args, nil); got != want {
			t.Errorf("tandem-oci %s prints\n%s\nwant\n%s", line, got, want)
		}
	}
	if n := len(newRootCommand(new(global), "--root", "x", "run", "box").Commands()); n != 1 {
		t.Errorf("to run a container takes %d verbs", n)
	}
}

func TestVerbsHaveTheirNames(t *testing.T) {
	for _, v := range verbs {
		if got := v.make(new(global)).Name(); got != v.name {
			t.Errorf("%s makes %s", v.name, got)
		}
	}
}
