package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

const containerdImage = "localhost/busybox:latest"

// containerd is a daemon whose every file is the test's.
type containerd struct {
	t      *testing.T
	dir    string
	socket string
	bin    string
}

func newContainerd(t *testing.T) *containerd {
	t.Helper()
	dir := openTemp(t)
	c := &containerd{t, dir, filepath.Join(dir, "c.sock"), testenv.TandemOCI(t)}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\n"+
		"disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n"+
		"[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.socket, c.socket+".ttrpc")
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	daemon := exec.Command("containerd", "--config", path)
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Process.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := daemon.Wait(); err != nil {
			t.Errorf("containerd: %v", err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("containerd's log:\n%s", text)
		}
		removeGroups("tandem-test")
	})
	await(t, "containerd", func() bool { return c.ctr("version").status == 0 })
	if r := c.ctr("image", "import", c.archive()); r.status != 0 {
		t.Fatalf("ctr image import: %s", r.stderr)
	}
	return c
}

// archive makes an OCI archive: an image layout in a tar file.
func (c *containerd) archive() string {
	t := c.t
	t.Helper()
	rootfs, layer := filepath.Join(c.dir, "rootfs"), filepath.Join(c.dir, "layer.tar")
	busyboxRoot(t, rootfs)
	command(t, "tar", "-cf", layer, "-C", rootfs, ".")
	l, err := tarball.LayerFromFile(layer, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, l)
	if err == nil {
		image, err = mutate.ConfigFile(image, platform(t, image))
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.dir, "layout")
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(image, layout.WithAnnotations(map[string]string{
			"io.containerd.image.name": containerdImage, "org.opencontainers.image.ref.name": "latest",
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(c.dir, "image.tar")
	command(t, "tar", "-cf", archive, "-C", dir, ".")
	return archive
}

func platform(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.Env = []string{"PATH=/bin"}
	return config
}

func (c *containerd) ctr(args ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	flags := []string{"--address", c.socket, "--namespace", "tandem-test"}
	cmd := exec.CommandContext(ctx, "ctr", append(flags, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		c.t.Fatalf("ctr %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (c *containerd) must(args ...string) string {
	c.t.Helper()
	r := c.ctr(args...)
	if r.status != 0 {
		c.t.Fatalf("ctr %s: exit status %d\n%s", strings.Join(args, " "), r.status, r.stderr)
	}
	return r.stdout
}

// run makes a container with tandem-oci, whose state is in a folder of the test's.
func (c *containerd) run(args ...string) result {
	c.t.Helper()
	flags := []string{"run", "--snapshotter", "native", "--runc-binary", c.bin, "--runc-root", filepath.Join(c.dir, "oci")}
	return c.ctr(slices.Concat(flags, args)...)
}

// status is what containerd knows of a task.
func (c *containerd) status(id string) string {
	c.t.Helper()
	for line := range strings.Lines(c.must("task", "list")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id {
			return fields[2]
		}
	}
	return ""
}

// TestContainerd has containerd's shim call tandem-oci.
func TestContainerd(t *testing.T) {
	testenv.Need(t, testenv.Containerd, testenv.Root, testenv.Cgroup1, testenv.Busybox)
	c := newContainerd(t)

	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{containerdImage, "a", "sh", "-c", "echo hello; exit 4"}, 4, "hello\n"},
		{[]string{"--cwd", "/tmp", "--env", "A=b", containerdImage, "b", "sh", "-c", "echo $A; pwd"}, 0, "b\n/tmp\n"},
	} {
		if r := c.run(append([]string{"--rm"}, test.args...)...); r.status != test.status || r.stdout != test.want {
			t.Errorf("ctr run %q = %d, %q, %q; want %d, %q", test.args, r.status, r.stdout, r.stderr, test.status, test.want)
		}
	}
	r := c.run("--rm", containerdImage, "c", "nosuch")
	if r.status == 0 || !strings.Contains(r.stderr, "look for nosuch") {
		t.Errorf("ctr run nosuch = %d, %q: tandem-oci's own words are missing", r.status, r.stderr)
	}

	const script = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.01; done"
	if r := c.run("--detach", "--memory-limit", "67108864", containerdImage, "web", "sh", "-c", script); r.status != 0 {
		t.Fatal(r.stderr)
	}
	list := command(t, c.bin, "--root", filepath.Join(c.dir, "oci", "tandem-test"), "list", "--quiet")
	if list != "web\n" || c.status("web") != "RUNNING" {
		t.Errorf("tandem-oci lists %q, containerd has it %s", list, c.status("web"))
	}
	await(t, "the command", func() bool {
		return c.ctr("task", "exec", "--exec-id", fmt.Sprint(time.Now().UnixNano()), "web", "ls", "/ready").status == 0
	})
	r = c.ctr("task", "exec", "--exec-id", "one", "web", "sh", "-c", "echo in; exit 6")
	if r.status != 6 || r.stdout != "in\n" {
		t.Errorf("ctr task exec = %d, %q, %q", r.status, r.stdout, r.stderr)
	}
	c.must("task", "pause", "web")
	if got := c.status("web"); got != "PAUSED" {
		t.Errorf("after pause: %s", got)
	}
	c.must("task", "resume", "web")
	if got := c.must("task", "metrics", "web"); !strings.Contains(got, "memory.usage_in_bytes") {
		t.Errorf("ctr task metrics prints %q", got)
	}
	c.must("task", "kill", "--signal", "TERM", "web")
	await(t, "the end", func() bool { return c.status("web") == "STOPPED" })
	if r := c.ctr("task", "delete", "web"); r.status != 0 && !strings.Contains(r.stderr, "exit code 3") {
		t.Errorf("ctr task delete = %d, %q", r.status, r.stderr)
	}
	c.must("container", "delete", "web")
	if left, _ := os.ReadDir(filepath.Join(c.dir, "oci", "tandem-test")); len(left) > 0 {
		t.Errorf("tandem-oci left %v", left)
	}
}
