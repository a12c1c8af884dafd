package container

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// A process of a user namespace may have more than this process, whose parent may raise limits on the host.
func TestLimitAboveOwn(t *testing.T) {
	testenv.Need(t, testenv.UserNS, testenv.RaiseLimit)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &old); err != nil {
			t.Error(err)
		}
	})
	b := newBench(t)
	b.giveRoot(100000)
	mapped := func(s *Spec) {
		c := s.Config
		c.Linux.Namespaces = append(c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		c.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
		c.Linux.GIDMappings = c.Linux.UIDMappings
	}
	const show = "ulimit -S -c; ulimit -H -c" // in blocks of 512 bytes
	limits := []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 10 * 512, Hard: 20 * 512}}
	s := b.spec(show)
	mapped(s)
	s.Config.Process.Rlimits = limits
	if status, out := b.run(s); status != 0 || out != "10\n20\n" {
		t.Errorf("status %d, output %q, want limits of 10 and 20", status, out)
	}
	c := b.running(mapped)
	process := *c.config.Process
	process.Rlimits = limits
	if out, err := b.inside(c, ExecSpec{Process: &process}, show); out != "10\n20\n" || err != nil {
		t.Errorf("in one that runs: %q, %v", out, err)
	}
}
