package seccomp

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAlwaysAllowed holds that the kernel sees of each call that is allowed with any arguments that it is: such a call
// runs no instruction of the filter at all (since Linux 5.11).
func TestAlwaysAllowed(t *testing.T) {
	spec := defaultProfile(t, nil)
	f := compile(t, spec)
	conditional := make(map[string]bool)
	for _, entry := range spec.Syscalls {
		for _, name := range entry.Names {
			conditional[name] = conditional[name] || len(entry.Args) > 0
		}
	}
	cached := 0
	for i := range syscallTable {
		e := &syscallTable[i]
		for kind, arch := range map[abi]uint32{x86_64: ArchX86_64, i386: ArchI386} {
			nr, ok := e.nr(kind)
			if !ok || conditional[e.name] {
				continue
			}
			allowed := f.Evaluate(Data{NR: int32(nr), Arch: arch}) == allow
			if got := alwaysAllowed(f.Program, nr, arch); got != allowed {
				t.Errorf("%s %s: always allowed %v, want %v", kind, e.name, got, allowed)
			}
			if allowed {
				cached++
			}
		}
	}
	t.Logf("%d calls of both ABIs run no instruction", cached)
}

// TestInstructions counts what a system call under the default profile takes, beside libseccomp's program: as it comes
// out of the box (crun), and with its binary tree (runc).
func TestInstructions(t *testing.T) {
	p := startPeer(t)
	spec := p.known(defaultProfile(t, nil))
	f := compile(t, spec)
	type count struct {
		name            string
		total, mean     float64
		longest, length int
	}
	measure := func(name string, program []unix.SockFilter) count {
		c := count{name: name, length: len(program)}
		calls := 0
		for i := range syscallTable {
			nr, ok := syscallTable[i].nr(x86_64)
			if !ok {
				continue
			}
			d := native(int32(nr))
			if _, n := Run(program, &d); p.knows(syscallTable[i].name) {
				c.total += float64(n)
				c.longest = max(c.longest, n)
				calls++
			}
		}
		c.mean = c.total / float64(calls)
		for _, nr := range []int32{unix.SYS_READ, unix.SYS_OPENAT, unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT2} {
			d := native(nr)
			_, n := Run(program, &d)
			call, _ := syscallName(x86_64, uint32(nr))
			t.Logf("%-24s %-12s %4d instructions", name, call, n)
		}
		t.Logf("%-24s mean %.1f, longest %d, program of %d", name, c.mean, c.longest, c.length)
		return c
	}
	own := measure("compiled here", f.Program)
	for level, name := range map[int]string{1: "libseccomp", 2: "libseccomp, binary tree"} {
		program, err := p.program(spec, level)
		if err != nil {
			t.Fatal(err)
		}
		peer := measure(name, program)
		if own.mean > peer.mean || own.longest > peer.longest || own.length > peer.length {
			t.Errorf("slower or longer than %s", name)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	spec := defaultProfile(b, nil)
	for b.Loop() {
		if _, err := Compile(spec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		if _, err := Default(nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad has the kernel take in the default profile's program. A filter stays with its thread, so each is loaded
// by a thread of its own, and a program is not freed before that has ended.
func BenchmarkLoad(b *testing.B) {
	p := startPeer(b)
	spec := p.known(defaultProfile(b, nil))
	programs := map[string][]unix.SockFilter{"own": compile(b, spec).Program}
	for level, name := range map[int]string{1: "libseccomp", 2: "libseccomp-tree"} {
		program, err := p.program(spec, level)
		if err != nil {
			b.Fatal(err)
		}
		programs[name] = program
	}
	for name, program := range programs {
		b.Run(name, func(b *testing.B) {
			var total time.Duration
			for range b.N {
				took := make(chan time.Duration)
				go func() {
					runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
					o := order{Filter: &Filter{Program: program}}
					start := time.Now()
					if err := o.load(); err != nil {
						b.Error(err)
					}
					took <- time.Since(start)
				}()
				total += <-took
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "load-ns/op")
		})
	}
}
