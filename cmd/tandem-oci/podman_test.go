package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// podman is one whose every file is the test's.
type podman struct {
	t   *testing.T
	dir string
	bin string
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	p := &podman{t, openTemp(t), testenv.TandemOCI(t)}
	for name, text := range map[string]string{
		// Limits that podman would set by itself are above what the tests' root may have.
		"containers.conf": "[engine]\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n" +
			"[containers]\ndefault_ulimits=[\"nofile=1024:2048\",\"nproc=4096:4096\"]\nlog_driver=\"k8s-file\"\n",
		"policy.json": `{"default":[{"type":"insecureAcceptAnything"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		out, err := p.command(context.Background(), "rm", "--all", "--force", "--time", "0").CombinedOutput()
		if err != nil {
			t.Errorf("podman rm --all: %v\n%s", err, out)
		}
		removeGroups("libpod_parent")
	})
	rootfs := filepath.Join(p.dir, "rootfs")
	busyboxRoot(t, rootfs)
	archive := filepath.Join(p.dir, "image.tar")
	command(t, "tar", "-cf", archive, "-C", rootfs, ".")
	p.must("import", archive, "busybox")
	return p
}

func (p *podman) command(ctx context.Context, args ...string) *exec.Cmd {
	sub := func(name string) string { return filepath.Join(p.dir, name) }
	cmd := exec.CommandContext(ctx, "podman", append([]string{
		"--root", sub("r"), "--runroot", sub("rr"), "--tmpdir", sub("t"), "--storage-driver", "vfs", "--runtime", p.bin,
	}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+sub("containers.conf"), "TMPDIR="+p.dir, "XDG_RUNTIME_DIR="+p.dir)
	return cmd
}

func (p *podman) run(args ...string) result {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := p.command(ctx, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		p.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (p *podman) must(args ...string) string {
	p.t.Helper()
	r := p.run(args...)
	if r.status != 0 {
		p.t.Fatalf("podman %s: exit status %d\n%s", strings.Join(args, " "), r.status, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// removeGroups removes a group that an engine has made above those of its containers, and does not take away.
func removeGroups(name string) {
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/", "/sys/fs/cgroup/*/*/*/"} {
		for _, below := range []string{"/conmon", ""} {
			found, _ := filepath.Glob(pattern + name + below)
			for _, path := range found {
				// A monitor that is about to end holds its group for a moment.
				for deadline := time.Now().Add(5 * time.Second); errors.Is(os.Remove(path), unix.EBUSY); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						break // the check for what is left behind names it
					}
				}
			}
		}
	}
}

// TestPodman has podman call tandem-oci for all that it does with containers.
func TestPodman(t *testing.T) {
	testenv.Need(t, testenv.Podman, testenv.Root, testenv.Cgroup1, testenv.Busybox)
	p := newPodman(t)

	t.Run("run", func(t *testing.T) {
		for _, test := range []struct {
			args   []string
			status int
			want   string
		}{
			{[]string{"busybox", "sh", "-c", "echo hello; exit 4"}, 4, "hello\n"},
			{
				[]string{"--env", "A=b", "--workdir", "/tmp", "busybox", "sh", "-c", "echo $A; pwd"},
				0,
				"b\n/tmp\n",
			},
			{[]string{"--user", "1000:7", "busybox", "sh", "-c", "id -u; id -g"}, 0, "1000\n7\n"},
			{[]string{"--read-only", "busybox", "touch", "/x"}, 1, ""},
			{[]string{"--tty", "busybox", "tty"}, 0, "/dev/pts/0\r\n"},
			{[]string{"--memory", "64m", "busybox", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}, 0, "67108864\n"},
			{
				[]string{"--uidmap", "0:100000:65536", "busybox", "cat", "/proc/self/uid_map"},
				0,
				"         0     100000      65536\n",
			},
			{[]string{"busybox", "nosuch"}, 127, ""},
			{[]string{"busybox", "/etc/passwd"}, 126, ""},
		} {
			args := append([]string{"run", "--rm", "--network", "none"}, test.args...)
			if r := p.run(args...); r.status != test.status || r.stdout != test.want {
				t.Errorf("podman %q = %d, %q, %q; want %d, %q", args, r.status, r.stdout, r.stderr, test.status, test.want)
			}
		}
	})

	t.Run("detached", func(t *testing.T) {
		const script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
		p.must("run", "--detach", "--name", "web", "--network", "none", "--volume", p.dir+":/mnt:ro",
			"busybox", "sh", "-c", script)
		await(t, "the container's log", func() bool { return p.must("logs", "web") == "ready" })
		r := p.run("exec", "--env", "A=b", "web", "sh", "-c", "echo $A; ls /mnt/policy.json; exit 5")
		if r.status != 5 || r.stdout != "b\n/mnt/policy.json\n" {
			t.Errorf("podman exec = %d, %q, %q", r.status, r.stdout, r.stderr)
		}
		if got := p.must("exec", "--tty", "web", "tty"); got != "/dev/pts/0" {
			t.Errorf("podman exec --tty tty prints %q", got)
		}
		p.must("pause", "web")
		if got := p.must("inspect", "--format", "{{.State.Status}} {{.OCIRuntime}}", "web"); got != "paused "+p.bin {
			t.Errorf("after pause: %q", got)
		}
		p.must("unpause", "web")
		if got := p.must("top", "web", "args"); !strings.Contains(got, "echo ready") {
			t.Errorf("podman top prints %q", got)
		}
		p.must("stop", "web")
		if got := p.must("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web"); got != "exited 7" {
			t.Errorf("after stop: %q", got)
		}
		if got := p.must("logs", "web"); got != "ready\nbye" {
			t.Errorf("podman logs prints %q", got)
		}
		p.must("start", "web")
		p.must("kill", "--signal", "KILL", "web")
		if got := p.must("wait", "web"); got != "137" {
			t.Errorf("podman wait prints %q", got)
		}
		p.must("rm", "web")
		if got := p.must("ps", "--all", "--quiet"); got != "" {
			t.Errorf("podman ps shows %q", got)
		}
	})

	t.Run("host network and PID", func(t *testing.T) {
		host, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("readlink /proc/self/ns/net; kill -0 %d && echo seen", os.Getpid())
		out := p.must("run", "--rm", "--network", "host", "--pid", "host", "busybox", "sh", "-c", script)
		if out != host+"\nseen" {
			t.Errorf("a container in the host's namespaces prints %q, want %q", out, host+"\nseen")
		}
	})
}
