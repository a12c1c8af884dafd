package seccomp

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func manyRules(n int) *specs.LinuxSeccomp {
	spec := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range n {
		spec.Syscalls = append(spec.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{
				{Index: uint(i % 2), Op: specs.OpEqualTo, Value: uint64(i)<<32 | uint64(i+7)},
			},
		})
	}
	return spec
}

func TestLongPrograms(t *testing.T) {
	for _, n := range []int{1, 60, 64, 65, 70, 127, 128, 130, 500, 1000} {
		spec := manyRules(n)
		f := compile(t, spec)
		if len(f.Program) > MaxInstructions {
			t.Errorf("%d rules: %d instructions", n, len(f.Program))
		}
		for i := range n {
			v := spec.Syscalls[i].Args[0].Value
			d := native(unix.SYS_IOCTL, 1, 1)
			for _, test := range []struct {
				value uint64
				want  Action
			}{{v, allow}, {v + 1, errno(unix.EPERM)}, {v + 1<<32, errno(unix.EPERM)}} {
				d.Args[i%2] = test.value
				if got := f.Evaluate(d); got != test.want {
					t.Fatalf("%d rules: ioctl with args[%d] %#x: %v, want %v", n, i%2, test.value, got, test.want)
				}
			}
		}
	}
	_, err := Compile(manyRules(1500))
	if !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "takes 4096") {
		t.Errorf("1500 rules: %v, want ErrTooLong", err)
	}
	if err != nil {
		t.Log(err)
	}
}

func tangledRules(n int) *specs.LinuxSeccomp {
	random := rand.New(rand.NewPCG(5, 6))
	spec := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range n {
		entry := specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActErrno, ErrnoRet: pointer(uint(2 + i%2))}
		for range 1 + random.IntN(3) {
			entry.Args = append(entry.Args, specs.LinuxSeccompArg{
				Index: uint(random.IntN(arguments)), Op: operators[random.IntN(len(operators))],
				Value: uint64(random.IntN(2))<<32 | uint64(random.IntN(1000)), ValueTwo: random.Uint64(),
			})
		}
		spec.Syscalls = append(spec.Syscalls, entry)
	}
	return spec
}

func TestKnowledgeThatGrows(t *testing.T) {
	for n := 420; n < 500; n++ {
		spec := tangledRules(n)
		p, err := parseProfile(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := emit(p.graph(MaxInstructions)); err == nil {
			continue
		}
		plain, err := emit(p.graph(0))
		if err != nil {
			t.Fatalf("%d rules: too long in any case, no fewer were", n)
		}
		f := compile(t, spec)
		t.Logf("%d rules: %d instructions", n, len(f.Program))
		random := rand.New(rand.NewPCG(7, 8))
		values := interesting(spec)
		for range 10000 {
			d := native(unix.SYS_IOCTL)
			for i := range d.Args {
				d.Args[i] = values[random.IntN(len(values))]
			}
			want, _ := Run(plain, &d)
			if got := f.Evaluate(d); got != want || !slices.Contains(meanings(spec, d), got) {
				t.Fatalf("%#x: %v, want %v", d, got, want)
			}
		}
		return
	}
	t.Fatal("no profile is too long")
}

func TestCompileIsRepeatable(t *testing.T) {
	for _, capabilities := range [][]string{nil, {"CAP_SYS_ADMIN"}} {
		first, second := compile(t, defaultProfile(t, capabilities)), compile(t, defaultProfile(t, capabilities))
		if !slices.Equal(first.Program, second.Program) {
			t.Errorf("with %v: two programs for one profile", capabilities)
		}
	}
}
