package container

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// allBut allows everything that a container may do, reading /etc/passwd excepted.
const allBut = "file,\ncapability,\nnetwork,\nsignal,\ndeny /etc/passwd r,\n"

// whatProfile tells the profile that it runs under, and whether it may read that file.
const whatProfile = "cat /proc/self/attr/apparmor/current; cat /etc/passwd >/dev/null 2>&1 && echo allowed || echo denied"

// seen is what whatProfile says.
func seen(profile string) string {
	if profile == unconfined {
		return "unconfined\nallowed\n"
	}
	return profile + " (enforce)\ndenied\n"
}

func TestAppArmor(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, allBut)
	for asked, got := range map[string]string{profile: profile, unconfined: unconfined, "": unconfined} {
		for _, noNewPrivs := range []bool{false, true} {
			s := b.spec(whatProfile)
			s.Config.Process.ApparmorProfile, s.Config.Process.NoNewPrivileges = asked, noNewPrivs
			if status, out := b.run(s); status != 0 || out != seen(got) {
				t.Errorf("profile %q, noNewPrivileges %v: status %d, output %q, want %q", asked, noNewPrivs, status, out, seen(got))
			}
		}
	}
}

func TestAppArmorInUserNamespace(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.UserNS)
	s := b.spec(whatProfile)
	s.Config.Process.ApparmorProfile = testenv.LoadAppArmor(t, allBut)
	b.giveRoot(100000)
	s.Config.Linux.Namespaces = append(s.Config.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Config.Linux.UIDMappings, s.Config.Linux.GIDMappings = mapping, mapping
	if status, out := b.run(s); status != 0 || out != seen(s.Config.Process.ApparmorProfile) {
		t.Errorf("status %d, output %q", status, out)
	}
}

// The command is executed by a process that is not in the profile yet, so the profile need not allow that.
func TestAppArmorOfCommandAlone(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, "/** rm,\nsignal,\n") // no x: who runs under it executes nothing
	s := b.spec("")
	s.Config.Process.ApparmorProfile = profile
	s.Config.Process.Args = []string{"cat", "/proc/self/attr/apparmor/current"}
	if status, out := b.run(s); status != 0 || out != profile+" (enforce)\n" {
		t.Errorf("status %d, output %q", status, out)
	}
	s = b.spec("cat /proc/self/attr/apparmor/current") // a shell that would execute it
	s.Config.Process.ApparmorProfile = profile
	if status, out := b.run(s); status == 0 || strings.Contains(out, "enforce") {
		t.Errorf("a command of the command's: status %d, output %q", status, out)
	}
}

func TestAppArmorExec(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, allBut)
	confined := b.running(func(s *Spec) { s.Config.Process.ApparmorProfile = profile })
	free := b.running(nil)
	for _, test := range []struct {
		name      string
		container *Container
		asked     string
		got       string
	}{
		{"the container's profile", confined, "", profile},
		{"out of the container's profile", confined, unconfined, unconfined},
		{"none", free, "", unconfined},
		{"a profile of its own", free, profile, profile},
	} {
		process := *free.config.Process
		process.ApparmorProfile = test.asked
		if out, err := b.inside(test.container, ExecSpec{Process: &process}, whatProfile); out != seen(test.got) || err != nil {
			t.Errorf("%s: %q, %v, want %q", test.name, out, err, seen(test.got))
		}
	}
	process := *free.config.Process
	process.ApparmorProfile = "no-such-profile"
	_, err := b.inside(free, ExecSpec{Process: &process}, "true")
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), `AppArmor profile "no-such-profile" is not loaded`) {
		t.Errorf("a profile that is not loaded: %v", err)
	}
}

func TestAppArmorHook(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, allBut)
	s := b.spec("cat /tmp/hook")
	s.Config.Process.ApparmorProfile = profile
	s.Config.Version = "1.3.0"
	s.Config.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "{ " + whatProfile + "; } >/tmp/hook"}}}}
	if status, out := b.run(s); status != 0 || out != seen(profile) {
		t.Errorf("status %d, output %q, want %q", status, out, seen(profile))
	}
}

// Nothing of a container runs that cannot have its profile.
func TestAppArmorProfileNotLoaded(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, allBut)
	for _, name := range []string{"no-such-profile", profile + "x", "a b"} {
		s := b.spec("true")
		s.Config.Process.ApparmorProfile = name
		_, err := b.Create(t.Context(), s)
		if want := fmt.Sprintf("AppArmor profile %q is not loaded", name); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
		b.nothingLeft(s)
	}
}
