package container

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/rootfs"
	"tandem/internal/testenv"
)

// nested runs a container from within a user namespace whose root is user 100000 of the host's, and gives its status and what
// it and the runtime print.
func (b *bench) nested(r runRequest, flags uintptr) (int, string) {
	b.t.Helper()
	ids := []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}}
	return b.elsewhere(r, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | flags, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	})
}

// elsewhere runs a container by a runtime that is another process.
func (b *bench) elsewhere(r runRequest, attr *syscall.SysProcAttr) (int, string) {
	b.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), runVariable+"="+string(text))
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestNestedUserNamespace(t *testing.T) {
	testenv.Need(t, testenv.UserNS)
	b := newBench(t)
	b.giveRoot(100000)
	const script = `id -u; cat /proc/self/uid_map; echo x >/dev/null && echo null; touch /made && stat -c %u /made; test -f /below && echo below`
	own := func(c *specs.Spec) {
		c.Linux.Namespaces = append(c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		c.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1000, Size: 2000}, {ContainerID: 2000, HostID: 10, Size: 5}}
		c.Linux.GIDMappings = c.Linux.UIDMappings
	}
	for _, test := range []struct {
		name   string
		flags  uintptr
		change func(*specs.Spec)
		layers bool
		want   string
	}{
		{"in tandem's own", unix.CLONE_NEWNS, nil, false, "0 0 100000 65536 null 0"},
		{"in one of its own", unix.CLONE_NEWNS, own, false, "0 0 1000 2000 2000 10 5 null 0"},
		{"in one of its own, and the host's mounts", 0, own, false, "0 0 1000 2000 2000 10 5 null 0"},
		{"on layers", unix.CLONE_NEWNS, nil, true, "0 0 100000 65536 null 0 below"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.layers {
				testenv.Need(t, testenv.Overlay, testenv.UserXattr)
			}
			dir := filepath.Join(filepath.Dir(b.root), strings.ReplaceAll(test.name, " ", "-"))
			uid := 100000
			if test.change != nil {
				uid += 1000
			}
			for _, sub := range []string{"state", "upper", "work", "lower"} {
				if err := errors.Join(os.MkdirAll(filepath.Join(dir, sub), 0o755), os.Chown(filepath.Join(dir, sub), 100000, 100000)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "lower/below"), nil, 0o644), os.Chown(b.root, uid, uid)); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(b.root, "made"))
			s := b.spec(script)
			s.Config.Linux.CgroupsPath = "" // there may be no right to make one
			if test.change != nil {
				test.change(s.Config)
			}
			r := runRequest{State: filepath.Join(dir, "state"), ID: s.ID, Bundle: dir, Config: s.Config}
			if test.layers {
				r.Overlay = &rootfs.Overlay{
					Lower: []string{filepath.Join(dir, "lower"), b.root}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"),
				}
				s.Config.Root.Path = ""
			}
			status, out := b.nested(r, test.flags)
			if got := strings.Join(strings.Fields(out), " "); got != test.want {
				t.Errorf("status %d, %q, want %q", status, got, test.want)
			}
		})
	}
}

func TestNestedMappingsThatAreNotThere(t *testing.T) {
	testenv.Need(t, testenv.UserNS)
	b := newBench(t)
	b.giveRoot(100000)
	s := b.spec("true")
	s.Config.Linux.Namespaces = append(s.Config.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Config.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 60000, Size: 10000}}
	s.Config.Linux.GIDMappings = s.Config.Linux.UIDMappings
	status, out := b.nested(runRequest{State: s.Bundle, ID: s.ID, Bundle: s.Bundle, Config: s.Config}, unix.CLONE_NEWNS)
	if status == 0 || !strings.Contains(out, "linux.uidMappings: host ID 65536") {
		t.Errorf("status %d, %q", status, out)
	}
}

func TestUnmapped(t *testing.T) {
	const uidMap = "         0     100000      65536\n     65536       1000          1\n     70000       2000         10\n"
	for _, test := range []struct {
		first, size uint32
		want        uint64
		missing     bool
	}{
		{0, 65536, 0, false},
		{0, 65537, 0, false},
		{65530, 10, 65537, true},
		{65537, 1, 65537, true},
		{69999, 2, 69999, true},
		{70000, 10, 0, false},
		{70005, 6, 70010, true},
		{1<<32 - 2, 1, 1<<32 - 2, true},
	} {
		got, missing := unmapped([]byte(uidMap), specs.LinuxIDMapping{HostID: test.first, Size: test.size})
		if missing != test.missing || missing && got != test.want {
			t.Errorf("%d IDs from %d: %d, %v, want %d, %v", test.size, test.first, got, missing, test.want, test.missing)
		}
	}
}
