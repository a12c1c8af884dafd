package seccomp

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestActions(t *testing.T) {
	for _, test := range []struct {
		action   specs.LinuxSeccompAction
		errnoRet *uint
		want     uint32
		text     string
	}{
		{specs.ActAllow, nil, unix.SECCOMP_RET_ALLOW, "ALLOW"},
		{specs.ActKill, nil, unix.SECCOMP_RET_KILL_THREAD, "KILL_THREAD"},
		{specs.ActKillThread, nil, unix.SECCOMP_RET_KILL_THREAD, "KILL_THREAD"},
		{specs.ActKillProcess, nil, unix.SECCOMP_RET_KILL_PROCESS, "KILL_PROCESS"},
		{specs.ActLog, nil, unix.SECCOMP_RET_LOG, "LOG"},
		{specs.ActTrap, nil, unix.SECCOMP_RET_TRAP, "TRAP"},
		{specs.ActNotify, nil, unix.SECCOMP_RET_USER_NOTIF, "NOTIFY"},
		{specs.ActErrno, nil, unix.SECCOMP_RET_ERRNO | 1, "ERRNO(EPERM)"},
		{specs.ActErrno, pointer(uint(0)), unix.SECCOMP_RET_ERRNO, "ERRNO(0)"},
		{specs.ActErrno, pointer(uint(38)), unix.SECCOMP_RET_ERRNO | 38, "ERRNO(ENOSYS)"},
		{specs.ActErrno, pointer(uint(4095)), unix.SECCOMP_RET_ERRNO | 4095, "ERRNO(4095)"},
		{specs.ActTrace, nil, unix.SECCOMP_RET_TRACE | 1, "TRACE(1)"},
		{specs.ActTrace, pointer(uint(65535)), unix.SECCOMP_RET_TRACE | 65535, "TRACE(65535)"},
	} {
		f := compile(t, &specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno, DefaultErrnoRet: pointer(uint(unix.EDOM)), ListenerPath: "/agent",
			Syscalls: []specs.LinuxSyscall{{Names: []string{"sync"}, Action: test.action, ErrnoRet: test.errnoRet}},
		})
		got := f.Evaluate(native(unix.SYS_SYNC))
		if got != Action(test.want) || got.String() != test.text {
			t.Errorf("%s: %#x %v, want %#x %s", test.action, uint32(got), got, test.want, test.text)
		}
		if got := f.Evaluate(native(0)); got != errno(unix.EDOM) {
			t.Errorf("%s: default action %v", test.action, got)
		}
		if notify := test.action == specs.ActNotify; f.Notify != notify || (f.ListenerPath == "/agent") != notify ||
			(f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0) != notify {
			t.Errorf("%s: notify %v, listener %q, flags %#x", test.action, f.Notify, f.ListenerPath, f.Flags)
		}
	}
}

func TestFlags(t *testing.T) {
	notify := []specs.LinuxSyscall{{Names: []string{"mknod"}, Action: specs.ActNotify}}
	all := []specs.LinuxSeccompFlag{
		flagTSync, specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv,
	}
	for _, test := range []struct {
		flags    []specs.LinuxSeccompFlag
		syscalls []specs.LinuxSyscall
		want     uint
	}{
		{nil, nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{}, nil, 0},
		{all, nil, unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{}, notify, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
		{all, notify, 0x3f},
	} {
		f := compile(t, &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Flags: test.flags, Syscalls: test.syscalls,
			ListenerPath: "/a", ListenerMetadata: "m",
		})
		if f.Flags != test.want {
			t.Errorf("%v, notify %v: flags %#x, want %#x", test.flags, f.Notify, f.Flags, test.want)
		}
	}
}

func TestBadProfiles(t *testing.T) {
	good := func(change func(s *specs.LinuxSeccomp)) *specs.LinuxSeccomp {
		s := &specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno,
			Syscalls: []specs.LinuxSyscall{
				{Names: []string{"read"}, Action: specs.ActAllow},
				{
					Names: []string{"write"}, Action: specs.ActAllow,
					Args: []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpEqualTo}, {Index: 2, Op: specs.OpEqualTo}},
				},
			},
		}
		change(s)
		return s
	}
	for want, spec := range map[string]*specs.LinuxSeccomp{
		"seccomp: no profile":                           nil,
		`seccomp: defaultAction: unknown action ""`:     {},
		`seccomp: defaultAction: unknown action "DENY"`: good(func(s *specs.LinuxSeccomp) { s.DefaultAction = "DENY" }),
		"seccomp: defaultAction: SCMP_ACT_NOTIFY is for single system calls": good(func(s *specs.LinuxSeccomp) {
			s.DefaultAction = specs.ActNotify
		}),
		"seccomp: defaultAction: SCMP_ACT_KILL returns no errno, and errnoRet is 1": good(func(s *specs.LinuxSeccomp) {
			s.DefaultAction, s.DefaultErrnoRet = specs.ActKill, pointer(uint(1))
		}),
		`seccomp: architectures[1]: unknown architecture "SCMP_ARCH_VAX"`: good(func(s *specs.LinuxSeccomp) {
			s.Architectures = []specs.Arch{specs.ArchX86, "SCMP_ARCH_VAX"}
		}),
		`seccomp: flags[0]: unknown flag "SECCOMP_FILTER_FLAG_NEW_LISTENER"`: good(func(s *specs.LinuxSeccomp) {
			s.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NEW_LISTENER"}
		}),
		`seccomp: listenerMetadata "x" without listenerPath`: good(func(s *specs.LinuxSeccomp) {
			s.ListenerMetadata = "x"
		}),
		"seccomp: SCMP_ACT_NOTIFY without listenerPath: nobody would answer": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Action = specs.ActNotify
		}),
		`seccomp: syscalls[1]: unknown action "allow"`: good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[1].Action = "allow"
		}),
		"seccomp: syscalls[0]: SCMP_ACT_ALLOW returns no errno, and errnoRet is 5": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].ErrnoRet = pointer(uint(5))
		}),
		"seccomp: syscalls[0]: errnoRet 4096 is no errno, the greatest is 4095": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Action, s.Syscalls[0].ErrnoRet = specs.ActErrno, pointer(uint(4096))
		}),
		"seccomp: syscalls[0]: errnoRet 65536 is above 65535, which a tracer can be told": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Action, s.Syscalls[0].ErrnoRet = specs.ActTrace, pointer(uint(65536))
		}),
		"seccomp: syscalls[0]: names: at least one is needed": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Names = nil
		}),
		"seccomp: syscalls[0]: names: one is empty": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Names = []string{"x", ""}
		}),
		"seccomp: syscalls[1]: args[1].index: no argument 6, the last is 5": good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[1].Args[1].Index = 6
		}),
		`seccomp: syscalls[1]: args[0].op: unknown operator "=="`: good(func(s *specs.LinuxSeccomp) {
			s.Syscalls[1].Args[0].Op = "=="
		}),
	} {
		if _, err := Compile(spec); err == nil || err.Error() != want {
			t.Errorf("Compile: %v, want %s", err, want)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	f := compile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"zzz", "read", "made_up"}, Action: specs.ActAllow},
		{Names: []string{"zzz"}, Action: specs.ActLog},
	}})
	if want := []string{"made_up", "zzz"}; !slices.Equal(f.Unknown, want) {
		t.Errorf("Unknown = %q, want %q", f.Unknown, want)
	}
	if got := f.Evaluate(native(unix.SYS_READ)); got != allow {
		t.Errorf("read beside unknown names: %v", got)
	}
}
