package container

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

func TestMemoryPolicy(t *testing.T) {
	b := newBench(t)
	const script = "while read address policy rest; do echo $policy; break; done </proc/self/numa_maps"
	for _, test := range []struct {
		is   specs.LinuxMemoryPolicy
		want string
	}{
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}, "bind:0\n"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}, "interleave=static:0\n"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred}, "local\n"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolDefault}, "default\n"},
	} {
		s := b.spec(script)
		s.Config.Linux.MemoryPolicy = &test.is
		if status, out := b.run(s); status != 0 || out != test.want {
			t.Errorf("%+v: status %d, %q, want %q", test.is, status, out, test.want)
		}
	}
	c := b.running(func(s *Spec) {
		s.Config.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}
	})
	if out, err := b.inside(c, ExecSpec{}, script); out != "bind:0\n" || err != nil {
		t.Errorf("of a process started later: %q, %v", out, err)
	}
	s := b.spec("true")
	s.Config.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1023"}
	_, _, err := b.Run(t.Context(), s)
	var step *child.StepError
	if !errors.As(err, &step) || step.Phase != "set the NUMA memory policy" || !errors.Is(err, unix.EINVAL) {
		t.Errorf("a node that is not there: %v", err)
	}
}

func TestMemoryPolicyRefused(t *testing.T) {
	for _, test := range []struct {
		is   specs.LinuxMemoryPolicy
		says string
	}{
		{specs.LinuxMemoryPolicy{}, `mode ""`},
		{specs.LinuxMemoryPolicy{Mode: "MPOL_MAX"}, `mode "MPOL_MAX"`},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind}, "nodes is empty"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave}, "nodes is empty"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolDefault, Nodes: "0"}, "takes none"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolLocal, Nodes: "0"}, "takes none"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1024"}, `nodes "1024"`},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{"X"}}, `flags "X"`},
	} {
		_, err := parseMemoryPolicy(&test.is)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want %q", test.is, err, test.says)
		}
	}
}
