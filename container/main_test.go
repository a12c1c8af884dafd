package container

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if request := os.Getenv(runVariable); request != "" {
		os.Exit(runRequested(request))
	}
	testenv.MainHostWide(m)
}

// needContainers is for tests that make containers.
func needContainers(t *testing.T) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Busybox)
}

// busyboxRoot is a root file system with busybox and nothing else.
func busyboxRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "rootfs")
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "ls", "id", "sleep", "true", "hostname", "mount", "ps", "kill", "stat", "test", "echo", "dd", "grep", "ip", "touch", "env", "pwd", "tty", "readlink"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

var allCapabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_MKNOD"}

// testConfig is a configuration such as `tandem-oci spec` writes.
func testConfig(root string, args ...string) *specs.Spec {
	return &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: root},
		Hostname: "box",
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/bin"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: allCapabilities, Effective: allCapabilities, Permitted: allCapabilities},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace},
			},
			MaskedPaths:   []string{"/proc/kcore", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/sys"},
		},
	}
}

// bench is a test's engine, with what its containers write.
type bench struct {
	*Engine
	t    *testing.T
	root string
	n    int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	needContainers(t)
	return &bench{Engine: &Engine{Root: filepath.Join(t.TempDir(), "state")}, t: t, root: busyboxRoot(t)}
}

// spec is a container that runs a shell script.
func (b *bench) spec(script string) *Spec {
	b.n++
	id := fmt.Sprintf("tandem-test-%d-%d", os.Getpid(), b.n)
	c := testConfig(b.root, "sh", "-c", script)
	c.Linux.CgroupsPath = "/" + id
	return &Spec{ID: id, Bundle: b.t.TempDir(), Config: c}
}

// run runs it to its end, and gives its exit status and what it wrote.
func (b *bench) run(s *Spec) (int, string) {
	b.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	s.Stdout, s.Stderr = w, w
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	c, p, err := b.Run(ctx, s)
	w.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		b.t.Error(err)
	}
	status, err := p.Wait()
	if err != nil {
		b.t.Error(err)
	}
	p.Release()
	if err := c.Delete(b.t.Context(), false); err != nil {
		b.t.Error(err)
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), string(text)
	}
	return status.ExitStatus(), string(text)
}

// create makes one that is deleted after the test.
func (b *bench) create(s *Spec) *Container {
	b.t.Helper()
	c, err := b.Create(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := c.Delete(context.Background(), true); err != nil {
			b.t.Error(err)
		}
		reap(c.state.Init.PID)
	})
	return c
}

// reap takes the place of the shim, whose child a container is.
func reap(pid int) {
	var status unix.WaitStatus
	_, _ = unix.Wait4(pid, &status, 0, nil)
}

func (b *bench) status(c *Container) specs.ContainerState {
	b.t.Helper()
	s, err := c.State()
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Status
}
