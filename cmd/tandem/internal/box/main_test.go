package box_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/nettest"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	nettest.Main()
	testenv.MainHostWide(m)
}

// applets are busybox's that the tests use.
var applets = []string{
	"sh", "cat", "echo", "id", "ls", "sleep", "true", "hostname", "pwd", "touch", "env", "stty", "grep", "df", "dd", "tail", "nc", "wget", "ip", "mkdir",
	"ln", "mv", "rm", "mknod", "mkfifo", "stat", "readlink", "chmod", "chown", "setsid", "tr", "wc", "kill", "head", "mount", "yes",
}

// bench is a test's home of boxes, with a root file system of busybox.
type bench struct {
	t    *testing.T
	home *box.Home
	root string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Overlay, testenv.Busybox)
	b := &bench{t: t, root: filepath.Join(t.TempDir(), "root")}
	t.Setenv(box.RunVariable, filepath.Join(t.TempDir(), "run"))
	t.Setenv("TANDEM_ROOT", filepath.Join(t.TempDir(), "data"))
	home, err := box.Open()
	if err != nil {
		t.Fatal(err)
	}
	b.home = home
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp"} {
		b.check(os.MkdirAll(filepath.Join(b.root, dir), 0o755))
	}
	busybox, err := exec.LookPath("busybox")
	b.check(err)
	text, err := os.ReadFile(busybox)
	b.check(err)
	b.check(os.WriteFile(filepath.Join(b.root, "bin/busybox"), text, 0o755))
	for _, name := range applets {
		b.check(os.Symlink("busybox", filepath.Join(b.root, "bin", name)))
	}
	b.check(os.WriteFile(filepath.Join(b.root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nu:x:1000:1001::/home/u:/bin/sh\n"), 0o644))
	b.check(os.WriteFile(filepath.Join(b.root, "etc/group"), []byte("root:x:0:\nug:x:1001:\nmore:x:7:u\n"), 0o644))
	t.Cleanup(b.removeAll)
	return b
}

func (b *bench) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// removeAll removes what a failed test has left.
func (b *bench) removeAll() {
	list, err := b.home.List()
	if err != nil {
		b.t.Error(err)
	}
	for _, r := range list {
		if err := r.Remove(context.Background(), true); err != nil {
			b.t.Error(err)
		}
	}
}

// limit is how long a command of the tests' may take.
const limit = time.Minute

func (b *bench) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	b.t.Cleanup(cancel)
	return exec.CommandContext(ctx, testenv.Tandem(b.t), args...)
}

// result is how a command ended.
type result struct {
	status         int
	stdout, stderr string
}

func (b *bench) finish(cmd *exec.Cmd) result {
	b.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%q: %v", cmd.Args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (b *bench) tandem(args ...string) result { b.t.Helper(); return b.finish(b.command(args...)) }

// must is tandem, of which success is expected.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	got := b.tandem(args...)
	if got.status != 0 {
		b.t.Fatalf("tandem %q: status %d: %s", args, got.status, got.stderr)
	}
	return strings.TrimSuffix(got.stdout, "\n")
}

// run is a container in the foreground, without a network, which is removed.
func (b *bench) run(flags []string, command ...string) result {
	b.t.Helper()
	return b.tandem(b.arguments(append(flags, "--rm"), command)...)
}

// detach is one in the background.
func (b *bench) detach(flags []string, command ...string) (id string) {
	b.t.Helper()
	return b.must(b.arguments(append(flags, "-d"), command)...)
}

func (b *bench) arguments(flags, command []string) []string {
	args := append([]string{"run", "--net", "none", "--rootfs", b.root}, flags...)
	return append(append(args, "--"), command...)
}

func (b *bench) record(word string) *box.Record {
	b.t.Helper()
	r, err := b.home.Find(word)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// await waits until a box's log has a line.
func (b *bench) await(word, line string) {
	b.t.Helper()
	found := errors.New("found")
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := b.record(word).Logs(ctx, box.LogOptions{Last: -1, Follow: true}, func(e box.Entry) error {
		if e.Text == line+"\n" {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		b.t.Fatalf("the log of %s ended without %q: %v", word, line, err)
	}
}

// empty wants no trace of any box, in the home and in the kernel.
func (b *bench) empty() {
	b.t.Helper()
	for _, dir := range []string{b.home.Run + "/boxes", b.home.Run + "/engine", b.home.Data + "/boxes"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			b.t.Error(err)
		}
		for _, e := range entries {
			b.t.Errorf("left: %s", filepath.Join(dir, e.Name()))
		}
	}
	left, err := b.home.Leftovers(context.Background())
	if err != nil || len(left) > 0 {
		b.t.Errorf("leftovers %+v, %v", left, err)
	}
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
