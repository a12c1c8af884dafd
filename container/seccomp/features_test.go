package seccomp

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestSupported(t *testing.T) {
	s := Supported()
	if s.Enabled == nil || !*s.Enabled {
		t.Error("not enabled")
	}
	for _, list := range []struct {
		name  string
		got   []string
		some  string
		count int
	}{
		{"actions", s.Actions, string(specs.ActNotify), 9},
		{"operators", s.Operators, string(specs.OpMaskedEqual), 7},
		{"archs", s.Archs, string(specs.ArchX32), 3},
		{"known flags", s.KnownFlags, string(specs.LinuxSeccompFlagWaitKillableRecv), 4},
	} {
		if !slices.Contains(list.got, list.some) || len(list.got) != list.count {
			t.Errorf("%s: %q", list.name, list.got)
		}
	}
	for _, flag := range s.SupportedFlags {
		if !slices.Contains(s.KnownFlags, flag) {
			t.Errorf("flag %s is supported and not known", flag)
		}
	}
	if !slices.Contains(s.SupportedFlags, string(specs.LinuxSeccompFlagLog)) { // since Linux 4.14
		t.Errorf("supported flags: %q", s.SupportedFlags)
	}
	if actionAvailable(0x12340000) || flagAvailable(1<<30) {
		t.Error("the kernel is said to know what there is not")
	}
	// Whatever is known is compiled.
	for _, action := range s.Actions {
		compile(t, &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: "/a",
			Syscalls: []specs.LinuxSyscall{{Names: []string{"sync"}, Action: specs.LinuxSeccompAction(action)}},
		})
	}
}
