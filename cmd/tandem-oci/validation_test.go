package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/internal/testenv"
)

// runtimeUnderTest lets the harness be held against a peer: go test -run Validation -args -runtime=/usr/sbin/runc
var runtimeUnderTest = flag.String("runtime", "", "validate the OCI runtime at `PATH`, not tandem-oci")

// runtimeTools is the module that holds the validation programs, one a folder below validation.
const runtimeTools = "github.com/opencontainers/runtime-tools"

// explained are the programs that no runtime can pass, or not here. Those that are not named have to pass.
var explained = map[string]string{
	"delete":                    "wants delete to refuse a container that was not started; runc and crun remove it",
	"hooks_stdin":               "wants prestart hooks to be told \"created\", while they are a part of create",
	"hooks":                     "wants \"post-start1\" from a hook that writes \"post-start1 called\"",
	"linux_cgroups_blkio":       "sets blkio.weight, which went with the CFQ scheduler in Linux 5.0",
	"linux_cgroups_hugetlb":     "wants the hugetlb controller in version 1, where this host has it in version 2",
	"linux_cgroups_memory":      "sets kernel memory limits, which Linux 5.16 dropped",
	"linux_cgroups_network":     "wants net_cls and net_prio, which this kernel is built without",
	"misc_props":                "runs /runtimetest, and does not put it into the bundle",
	"prestart":                  "wants prestart hooks to run at start, as in specification 1.0.0",
	"process_capabilities_fail": "wants an unknown capability to be an error; since specification 1.1 it is a warning",
	"process_rlimits":           "its own Go runtime raises the soft limit of open files, which it then reads",
	"start":                     "makes a container without process, which the specification allows and no runtime does",

	"linux_cgroups_relative_blkio":   "as linux_cgroups_blkio",
	"linux_cgroups_relative_hugetlb": "as linux_cgroups_hugetlb",
	"linux_cgroups_relative_memory":  "as linux_cgroups_memory",
	"linux_cgroups_relative_network": "as linux_cgroups_network",
	"linux_process_apparmor_profile": "wants a profile loaded into AppArmor, which this kernel does not run",
	"linux_rootfs_propagation":       "asks for all capabilities, and the tests' root has not CAP_SYS_RESOURCE",
	"process_capabilities":           "asks for CAP_SYS_RESOURCE, which the tests' root has not",
}

// slowTrue are the programs that look at a container while it runs, and have it run "true": it has mostly ended by
// then. They get a "true" that takes longer.
var slowTrue = []string{"pidfile"}

// patientScript waits before a kill until the process catches one of the signals TERM, USR1 and USR2. killsig sends one
// as soon as the container runs, when its shell has mostly not got as far as to set its trap.
const patientScript = `#!/bin/sh
oci="%s"
if [ "$1" = kill ] && [ "$3" != KILL ]; then
	pid=$($oci state "$2" | sed -n 's/^ *"pid": \([0-9]*\),$/\1/p')
	for i in $(seq 1000); do
		caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") || break
		[ $((0x$caught & 0x4a00)) = 0 ] || break
		sleep 0.01
	done
fi
exec $oci "$@"
`

// TestValidation runs the OCI's own validation programs.
func TestValidation(t *testing.T) {
	testenv.Need(t, testenv.Cgroup1, testenv.Root, testenv.GoToolchain)
	v := newValidation(t)
	programs := v.programs(t)
	if len(programs) != 58 {
		t.Errorf("%s has %d programs, want 58: %q", runtimeTools, len(programs), programs)
	}
	for name := range explained {
		if !slices.Contains(programs, name) {
			t.Errorf("%s is explained, and there is no such program", name)
		}
	}
	// Those that look at cgroups all use the same ones.
	var cgroups sync.Mutex
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(name, "linux_cgroups") || strings.HasPrefix(name, "delete_") {
				cgroups.Lock()
				defer cgroups.Unlock()
			}
			wrong := v.run(t, name)
			reason, known := explained[name]
			switch {
			case known && len(wrong) == 0:
				t.Errorf("passes, and is said to fail as it %s", reason)
			case known:
				t.Logf("fails, as it %s: %s", reason, wrong[0])
			case len(wrong) > 0:
				t.Error(strings.Join(wrong, "\n"))
			}
		})
	}
}

// validation runs programs, each in a folder of its own.
type validation struct {
	bin     string // folder of the programs
	rootfs  string // archive of their containers' root file system
	runtime string // script that calls the runtime, with state in a folder of the test's
	patient string // the same, for killsig: see patientScript
	temp    string
}

func newValidation(t *testing.T) *validation {
	v := &validation{bin: filepath.Join(testenv.Tree(t), "build", "validation"), temp: openTemp(t)}
	module := filepath.Join("testdata", "validation")
	goTool(t, module, "build", "-o", v.bin+"/", runtimeTools+"/validation/...", runtimeTools+"/cmd/runtimetest")
	v.rootfs = filepath.Join(goTool(t, module, "list", "-m", "-f", "{{.Dir}}", runtimeTools), "rootfs-amd64.tar.gz")

	runtime := *runtimeUnderTest
	if runtime == "" {
		runtime = testenv.TandemOCI(t)
	}
	runtime += " --root " + v.temp + "/state"
	v.runtime, v.patient = filepath.Join(v.temp, "runtime"), filepath.Join(v.temp, "patient")
	for path, script := range map[string]string{
		v.runtime: fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", runtime),
		v.patient: fmt.Sprintf(patientScript, runtime),
	} {
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(removeTestGroups)
	t.Cleanup(reapOrphans)
	return v
}

// reapOrphans takes leave of what the programs have left to this process, their containers among it. A PID namespace's
// first process does not end before all others in it have been reaped.
func reapOrphans() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, cmd.Stderr)
	}
	return strings.TrimSpace(string(out))
}

func (v *validation) programs(t *testing.T) []string {
	entries, err := os.ReadDir(v.bin)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "runtimetest" {
			names = append(names, e.Name())
		}
	}
	return names
}

// longest is more than a program takes: the slowest waits for ten seconds, twice.
const longest = time.Minute

// run tells what was wrong.
func (v *validation) run(t *testing.T, name string) []string {
	dir := openTemp(t)
	command(t, "cp", filepath.Join(v.bin, "runtimetest"), dir)
	archive := filepath.Join(dir, "rootfs-amd64.tar.gz")
	if slices.Contains(slowTrue, name) {
		slowRootfs(t, v.rootfs, archive)
	} else {
		command(t, "cp", v.rootfs, archive)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(v.bin, name))
	cmd.Dir = dir
	runtime := v.runtime
	if name == "killsig" {
		runtime = v.patient
	}
	cmd.Env = append(os.Environ(), "RUNTIME="+runtime, "TMPDIR="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	// Some make containers without a mount namespace, and leave behind what is mounted for them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var wrong []string
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		wrong = append(wrong, err.Error())
	}
	wrong = append(wrong, judgeTAP(stdout.String())...)
	if len(wrong) > 0 && stderr.Len() > 0 {
		wrong = append(wrong, "stderr: "+stderr.String())
	}
	return wrong
}

// openTemp makes a temporary folder that other users may pass through, as those of a user namespace have to.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "v")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, path := range []string{os.TempDir(), dir} {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// slowRootfs makes an archive like the first, but with a "true" that runs until it is killed, or for some seconds.
func slowRootfs(t *testing.T, from, to string) {
	t.Helper()
	dir := t.TempDir()
	command(t, "tar", "-xf", from, "-C", dir)
	path := filepath.Join(dir, "bin", "true")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "tar", "-czf", to, "-C", dir, ".")
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// removeTestGroups removes the groups above the containers' own. The programs name them, and no runtime removes what it
// did not make for the container alone.
func removeTestGroups() {
	for _, pattern := range []string{"testdir/cgrouptest/*", "testdir/cgrouptest", "testdir", "cgrouptest"} {
		for _, above := range []string{"", "*/", "*/*/"} { // relative ones are below the caller's own group
			found, _ := filepath.Glob("/sys/fs/cgroup/*/" + above + pattern)
			for _, path := range found {
				_ = os.Remove(path)
			}
		}
	}
}
