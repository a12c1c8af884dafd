package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/guest/agent"
	"tandem/internal/testenv"
	"tandem/lab"
)

// Labels of the policy in testdata/selinux. The last is none of its.
const (
	processLabel = "system_u:system_r:container_t:s0:c1,c2"
	mountLabel   = "system_u:object_r:container_file_t:s0:c1,c2"
	otherLabel   = "system_u:system_r:container_t:s0:c1.c3"
	unknownLabel = "system_u:system_r:nosuch_t:s0"
)

// selinux is a lab of the test's own: which one of AppArmor and SELinux a kernel runs is settled when it boots.
type selinux struct {
	*oci
	session *lab.Session
}

func newSELinux(t *testing.T) *selinux {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.Lab, testenv.Checkpolicy, testenv.Busybox)
	l := &selinux{oci: newOCI(t)}
	o := lab.Options{Dir: filepath.Join(l.dir, "lab"), Program: testenv.Tandem(t), Memory: 1 << 30, Append: "security=selinux"}
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), o); err != nil && !errors.Is(err, lab.ErrNotRunning) {
			t.Error(err)
		}
	})
	var err error
	if l.session, err = lab.Connect(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.session.Close() })
	return l
}

// inLab runs a script in the lab, in which "oci" is the runtime. Its mounts stay, as it is in the mount namespace of the
// lab's init and not in one of its own, as the lab's commands are.
func (l *selinux) inLab(script string) result {
	l.t.Helper()
	var stdout, stderr bytes.Buffer
	p, err := l.session.Start(l.t.Context(), lab.Command{
		Args:   []string{"nsenter", "--target=1", "--mount", "sh", "-ec", "oci() { " + l.bin + ` "$@"; }; ` + script},
		Stdout: &stdout, Stderr: &stderr,
	})
	if err == nil {
		err = p.Wait()
	}
	var failed *agent.ExitError
	if err != nil && !errors.As(err, &failed) {
		l.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), agent.ExitStatus(err)}
}

func (l *selinux) mustLab(script string) string {
	l.t.Helper()
	r := l.inLab(script)
	if r.status != 0 {
		l.t.Fatalf("%s: status %d, stderr %q", script, r.status, r.stderr)
	}
	return r.stdout
}

// config writes a bundle's configuration, for the lab to copy.
func (l *selinux) config(bundle string, change func(*specs.Spec), args ...string) {
	l.t.Helper()
	l.configure(func(s *specs.Spec) {
		s.Process.SelinuxLabel, s.Linux.MountLabel, s.Root.Path = processLabel, mountLabel, "/run/box/rootfs"
		change(s)
	}, args...)
	command(l.t, "install", "-D", filepath.Join(l.bundle, "config.json"), filepath.Join(l.dir, "bundles", bundle, "config.json"))
}

// TestSELinux boots a lab and tries all in it, as a boot takes some seconds.
func TestSELinux(t *testing.T) {
	l := newSELinux(t)
	policy := filepath.Join(l.dir, "policy")
	command(t, "checkpolicy", "--mls", "--handle-unknown=allow", "-c", "31", "-o", policy, "testdata/selinux/policy.conf")
	l.config("good", func(s *specs.Spec) {
		s.Linux.MaskedPaths = slices.DeleteFunc(s.Linux.MaskedPaths, func(path string) bool { return path == "/proc/keys" })
		for _, source := range []string{"/run/host", "/run/others/other"} {
			s.Mounts = append(s.Mounts, specs.Mount{
				Destination: "/" + filepath.Base(source), Type: "bind", Source: source, Options: []string{"bind"},
			})
		}
	}, "sh", "-c", "cat /proc/keys >/keys; exec sleep 1000")
	l.config("process", func(s *specs.Spec) { s.Process.SelinuxLabel = unknownLabel }, "true")
	l.config("mount", func(s *specs.Spec) { s.Linux.MountLabel = unknownLabel }, "true")

	// The container's files lie on a file system of their own, as those that come over 9p have no labels. One file is
	// nobody's in particular, and one is another container's, with a category of that one's.
	l.mustLab(fmt.Sprintf(`
		mount -t selinuxfs selinuxfs /sys/fs/selinux
		cat %s >/sys/fs/selinux/load
		echo 1 >/sys/fs/selinux/enforce
		mkdir /run/box /run/others
		mount -t tmpfs -o 'context=%q' tmpfs /run/box
		cp -a %s %s /run/box/
		mount -t tmpfs -o context=system_u:object_r:container_file_t:s0:c3 tmpfs /run/others
		echo >/run/others/other
		echo >/run/host
		oci run --detach --bundle /run/box/bundles/good --pid-file /run/pid box </dev/null >/run/log 2>&1 || { cat /run/log >&2; exit 1; }`,
		policy, mountLabel, filepath.Join(l.bundle, "rootfs"), filepath.Join(l.dir, "bundles")))
	l.testProcess()
	l.testFiles()
	l.testUnknown()
	l.mustLab("oci delete --force box")
}

// The first process and those that are started later have their label, and what they may do goes by it.
func (l *selinux) testProcess() {
	got := l.mustLab(`
		cat /proc/$(cat /run/pid)/attr/current; echo
		grep -o _ses.box /run/box/rootfs/keys # the keyring that it sees
		what='cat /proc/self/attr/current; echo; for path in /etc/passwd /host /other; do cat $path >/dev/null && echo $path; done; true'
		oci exec box sh -c "$what"
		oci exec --process-label ` + otherLabel + ` box sh -c "$what"`)
	want := []string{processLabel, "_ses.box", processLabel, "/etc/passwd", otherLabel, "/etc/passwd", "/other"}
	if lines := strings.Fields(strings.ReplaceAll(got, "\x00", "")); !slices.Equal(lines, want) {
		l.t.Errorf("processes tell %q, want %q", lines, want)
	}
}

// The container's file systems have its label, also those that are mounted where something is hidden. What is the kernel's
// keeps its own.
func (l *selinux) testFiles() {
	const proc = "system_u:object_r:proc_t:s0"
	want := map[string]string{
		"/dev": mountLabel, "/dev/pts": mountLabel, "/dev/shm": mountLabel, "/dev/mqueue": mountLabel,
		"/proc/acpi": mountLabel, "/sys/firmware": mountLabel, "/proc/cpuinfo": proc, "/sys/kernel": proc,
	}
	paths := slices.Sorted(maps.Keys(want))
	labels := strings.Fields(l.mustLab("cd /proc/$(cat /run/pid)/root; stat -c %C ." + strings.Join(paths, " .")))
	for i, path := range paths {
		if len(labels) != len(paths) || labels[i] != want[path] {
			l.t.Errorf("label of %s should be %s: %q of %q", path, want[path], labels, paths)
		}
	}
}

// A label that the policy does not know is named, and nothing runs.
func (l *selinux) testUnknown() {
	const words = `SELinux label "` + unknownLabel + `" is not one of the policy's: invalid argument`
	for script, words := range map[string]string{
		"oci exec --process-label " + unknownLabel + " box true": words,
		"oci create --bundle /run/box/bundles/process none":      words,
		"oci create --bundle /run/box/bundles/mount none":        "mount tmpfs on /dev: fsconfig context=" + unknownLabel + ": invalid argument",
	} {
		if r := l.inLab(script); r.status != 1 && r.status != 255 || !strings.Contains(r.stderr, words) {
			l.t.Errorf("%s: status %d, stderr %q, want %s", script, r.status, r.stderr, words)
		}
	}
}
