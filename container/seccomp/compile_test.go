package seccomp

import (
	"math"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func errno(e unix.Errno) Action { return Action(unix.SECCOMP_RET_ERRNO | uint32(e)) }

func pointer[T any](v T) *T { return &v }

const (
	allow       = Action(unix.SECCOMP_RET_ALLOW)
	killThread  = Action(unix.SECCOMP_RET_KILL_THREAD)
	killProcess = Action(unix.SECCOMP_RET_KILL_PROCESS)
)

func compile(t testing.TB, spec *specs.LinuxSeccomp) *Filter {
	t.Helper()
	f, err := Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkProgram(f.Program); err != nil {
		t.Fatal(err)
	}
	return f
}

// native is a call of x86_64.

func native(nr int32, args ...uint64) Data {
	d := Data{NR: nr, Arch: ArchX86_64}
	copy(d.Args[:], args)
	return d
}

// TestOperators puts each operator to the values at its edges, in both halves of an argument.

func TestOperators(t *testing.T) {
	operands := []uint64{
		0, 1, 0x7fffffff, 0xffffffff, 1 << 32, 1<<32 + 1, 5<<32 | 7, 1<<63 - 1, 1 << 63, math.MaxUint64,
	}
	var values []uint64
	for _, v := range operands {
		values = append(values, v-1, v, v+1, v-1<<32, v+1<<32, v&0xffffffff, v>>32)
	}
	for op, holds := range map[specs.LinuxSeccompOperator]func(v, value, two uint64) bool{
		specs.OpEqualTo:      func(v, value, _ uint64) bool { return v == value },
		specs.OpNotEqual:     func(v, value, _ uint64) bool { return v != value },
		specs.OpLessThan:     func(v, value, _ uint64) bool { return v < value },
		specs.OpLessEqual:    func(v, value, _ uint64) bool { return v <= value },
		specs.OpGreaterThan:  func(v, value, _ uint64) bool { return v > value },
		specs.OpGreaterEqual: func(v, value, _ uint64) bool { return v >= value },
		specs.OpMaskedEqual:  func(v, value, two uint64) bool { return v&value == two&value },
	} {
		for index := range uint(arguments) {
			for _, value := range operands {
				two := operands[(index+3)%uint(len(operands))]
				f := compile(t, &specs.LinuxSeccomp{
					DefaultAction: specs.ActKillProcess,
					Architectures: []specs.Arch{specs.ArchX86},
					Syscalls: []specs.LinuxSyscall{{
						Names: []string{"ioctl"}, Action: specs.ActAllow,
						Args: []specs.LinuxSeccompArg{{Index: index, Op: op, Value: value, ValueTwo: two}},
					}},
				})
				for _, v := range values {
					d := native(unix.SYS_IOCTL)
					for i := range d.Args {
						d.Args[i] = ^v // of no account
					}
					d.Args[index] = v
					if got, want := f.Evaluate(d) == allow, holds(v, value, two); got != want {
						t.Fatalf("%#x %s %#x, %#x: allowed %v, want %v", v, op, value, two, got, want)
					}
					const low = 0xffffffff
					d.NR, d.Arch = 54, ArchI386
					if got, want := f.Evaluate(d) == allow, holds(v&low, value&low, two&low); got != want {
						t.Fatalf("32 bits: %#x %s %#x, %#x: allowed %v, want %v", v, op, value, two, got, want)
					}
				}
			}
		}
	}
}

// TestRules is about how several conditions and rules go together.

func TestRules(t *testing.T) {
	arg := func(index uint, op specs.LinuxSeccompOperator, value uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: op, Value: value}
	}
	entry := func(e uint, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: &e, Args: args}
	}
	eq, ne, lt, ge := specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpGreaterEqual
	for _, test := range []struct {
		name    string
		entries []specs.LinuxSyscall
		want    map[[3]uint64]unix.Errno // by the arguments; 0 is the default action
	}{
		{
			"all conditions of a rule have to hold",
			[]specs.LinuxSyscall{entry(1, arg(0, eq, 1), arg(1, ne, 2), arg(2, lt, 3))},
			map[[3]uint64]unix.Errno{{1, 1, 2}: 1, {0, 1, 2}: 0, {1, 2, 2}: 0, {1, 1, 3}: 0},
		},
		{
			"an argument compared twice makes two rules",
			[]specs.LinuxSyscall{entry(1, arg(0, ge, 5), arg(0, lt, 3), arg(1, eq, 7))},
			map[[3]uint64]unix.Errno{{5}: 1, {2}: 1, {4}: 0, {4, 7}: 1},
		},
		{
			"any rule is enough",
			[]specs.LinuxSyscall{entry(1, arg(0, eq, 1)), entry(1, arg(0, eq, 2)), entry(1, arg(1, eq, 3))},
			map[[3]uint64]unix.Errno{{1}: 1, {2}: 1, {0, 3}: 1, {3, 1}: 0},
		},
		{
			"a rule without conditions beats those with",
			[]specs.LinuxSyscall{entry(1, arg(0, eq, 1)), entry(2), entry(3, arg(0, eq, 4))},
			map[[3]uint64]unix.Errno{{1}: 2, {4}: 2, {5}: 2},
		},
		{
			"of two without conditions the first stands",
			[]specs.LinuxSyscall{entry(1), entry(2)},
			map[[3]uint64]unix.Errno{{}: 1},
		},
		{
			"a mask of nothing is no condition",
			[]specs.LinuxSyscall{entry(1, arg(0, eq, 1)), entry(2, arg(0, specs.OpMaskedEqual, 0))},
			map[[3]uint64]unix.Errno{{1}: 2, {4}: 2},
		},
		{
			"later arguments first",
			[]specs.LinuxSyscall{entry(1, arg(0, eq, 1)), entry(2, arg(1, eq, 1))},
			map[[3]uint64]unix.Errno{{1, 1}: 2, {1, 0}: 1, {0, 1}: 2},
		},
		{
			"equality before ranges, and the narrower range first",
			[]specs.LinuxSyscall{
				entry(1, arg(0, ge, 1)), entry(2, arg(0, ge, 5)), entry(3, arg(0, lt, 4)), entry(4, arg(0, lt, 3)),
				entry(5, arg(0, eq, 2)),
			},
			map[[3]uint64]unix.Errno{{0}: 4, {1}: 4, {2}: 5, {3}: 3, {4}: 1, {5}: 2},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := compile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: test.entries})
			for args, want := range test.want {
				action := allow
				if want != 0 {
					action = errno(want)
				}
				if got := f.Evaluate(native(unix.SYS_SOCKET, args[:]...)); got != action {
					t.Errorf("socket%v: %v, want %v", args, got, action)
				}
			}
		})
	}
}

func TestArchitectures(t *testing.T) {
	const getpid64, getpid32 = unix.SYS_GETPID, 20
	calls := map[string]Data{
		"x86_64": native(getpid64),
		"i386":   {NR: getpid32, Arch: ArchI386},
		"x32":    native(getpid64 | x32Bit),
		"arm":    {NR: getpid32, Arch: unix.AUDIT_ARCH_ARM},
		"tracer": native(-1),
	}
	const fallback = Action(unix.SECCOMP_RET_TRACE | uint32(unix.EDOM))
	for _, test := range []struct {
		archs []specs.Arch

		x86_64, i386, x32, arm Action
	}{
		{nil, allow, killThread, killThread, killThread},
		{[]specs.Arch{specs.ArchX86}, allow, allow, killThread, killThread},
		{[]specs.Arch{specs.ArchX32}, allow, killThread, allow, killThread},
		{[]specs.Arch{specs.ArchARM, specs.ArchX86_64}, allow, killThread, killThread, killThread},
		{allArchs, allow, allow, allow, killThread},
	} {
		f := compile(t, &specs.LinuxSeccomp{
			DefaultAction: specs.ActTrace, DefaultErrnoRet: pointer(uint(unix.EDOM)), Architectures: test.archs,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"getpid"}, Action: specs.ActAllow}},
		})
		want := map[string]Action{
			"x86_64": test.x86_64, "i386": test.i386, "x32": test.x32, "arm": test.arm, "tracer": fallback,
		}
		for name, want := range want {
			if got := f.Evaluate(calls[name]); got != want {
				t.Errorf("%v: %s: %v, want %v", test.archs, name, got, want)
			}
		}
	}
}

// TestNewerThanProfile is about calls that did not exist when a profile was written.

func TestNewerThanProfile(t *testing.T) {
	fallback := map[specs.LinuxSeccompAction]Action{
		specs.ActErrno: errno(unix.EPERM), specs.ActKillProcess: killProcess, specs.ActTrap: unix.SECCOMP_RET_TRAP,
		specs.ActLog: unix.SECCOMP_RET_LOG, specs.ActTrace: unix.SECCOMP_RET_TRACE | 1,
	}
	for action, old := range fallback {
		f := compile(t, &specs.LinuxSeccomp{
			DefaultAction: action, Architectures: allArchs,
			Syscalls: []specs.LinuxSyscall{
				{Names: []string{"statx"}, Action: specs.ActAllow}, // 332, and 383 of i386
				{Names: []string{"rseq"}, Action: action},          // 334 and 386: no news, but a name
			},
		})
		newer := errno(unix.ENOSYS)
		if action == specs.ActLog || action == specs.ActTrace {
			newer = old
		}
		for d, want := range map[Data]Action{
			native(331): old, native(332): allow, native(333): old, native(334): old,
			native(335): newer, native(441): newer,
			native(x32Bit - 1): newer, native(-1): newer,
			native(x32Bit | 332): allow, native(x32Bit | 333): old, native(x32Bit | 335): newer,
			native(x32Bit | 511): newer,
			native(x32Bit | 512): old, native(x32Bit | 547): old, native(x32Bit | 548): newer,
			{NR: 383, Arch: ArchI386}: allow, {NR: 386, Arch: ArchI386}: old, {NR: 387, Arch: ArchI386}: newer,
			{NR: -1, Arch: ArchI386}: newer,
		} {
			if got := f.Evaluate(d); got != want {
				t.Errorf("default %s: %#x: %v, want %v", action, d, got, want)
			}
		}
	}
	f := compile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno})
	if got := f.Evaluate(native(500)); got != errno(unix.EPERM) {
		t.Errorf("a profile without names: %v", got)
	}
}

func TestMultiplexed(t *testing.T) {
	f := compile(t, &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, Architectures: allArchs,
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"send", "recvfrom", "shmat"}, Action: specs.ActErrno},
			{
				Names: []string{"socket"}, Action: specs.ActLog,
				Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: unix.AF_ALG}},
			},
			{
				Names: []string{"bind"}, Action: specs.ActLog,
				Args: []specs.LinuxSeccompArg{{Index: 2, Op: specs.OpEqualTo, Value: 7}},
			},
		},
	})
	for _, test := range []struct {
		nr   int32
		args [3]uint64
		want Action
	}{
		{nrSocketcall, [3]uint64{9}, errno(unix.EPERM)}, // send, which has no number
		{nrSocketcall, [3]uint64{12}, errno(unix.EPERM)},
		{nrSocketcall, [3]uint64{10}, allow}, // recv
		{371, [3]uint64{}, errno(unix.EPERM)},
		{nrIPC, [3]uint64{21}, errno(unix.EPERM)},
		{nrIPC, [3]uint64{1<<16 | 21}, errno(unix.EPERM)}, // the same with a version
		{nrIPC, [3]uint64{22}, allow},
		{397, [3]uint64{}, errno(unix.EPERM)},
		{359, [3]uint64{unix.AF_ALG}, unix.SECCOMP_RET_LOG},
		{359, [3]uint64{unix.AF_UNIX}, allow},
		{nrSocketcall, [3]uint64{1}, unix.SECCOMP_RET_LOG}, // socket, for whatever family
		{nrSocketcall, [3]uint64{2, 0, 7}, unix.SECCOMP_RET_LOG},
		{nrSocketcall, [3]uint64{2, 0, 6}, allow},
	} {
		d := Data{NR: test.nr, Arch: ArchI386}
		copy(d.Args[:], test.args[:])
		if got := f.Evaluate(d); got != test.want {
			t.Errorf("i386 %d%v: %v, want %v", test.nr, test.args, got, test.want)
		}
	}
}

// manyRules needs about four instructions a rule.

// TestLongPrograms goes where jumps do not reach and the kernel's limit begins.

// tangledRules ask about all arguments in no order, so that what one of them settles is of use in many places.

// TestKnowledgeThatGrows has a profile whose program is too long only where what is known is made use of.

// TestCompileIsRepeatable holds the program to be a function of the profile.
