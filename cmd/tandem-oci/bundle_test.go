package main

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

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/testenv"
)

// needContainers names what a test needs that runs one.
func needContainers(t *testing.T) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Busybox)
}

// busyboxRoot makes a root file system of a static busybox in a folder.
func busyboxRoot(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	command(t, "cp", busybox, filepath.Join(dir, "bin", "busybox"))
	const applets = "sh cat echo sleep true false id ls touch tty pwd kill readlink wc stty"
	for _, applet := range strings.Fields(applets) {
		path := filepath.Join(dir, "bin", applet)
		_ = os.Remove(path)
		if err := os.Symlink("busybox", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "passwd"), []byte("root:x:0:0:root:/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// oci runs tandem-oci on containers of one bundle.
type oci struct {
	t            *testing.T
	bin          string
	dir          string // temporary
	root, bundle string
}

func newOCI(t *testing.T) *oci {
	t.Helper()
	o := &oci{t: t, bin: testenv.TandemOCI(t), dir: openTemp(t)}
	o.root, o.bundle = filepath.Join(o.dir, "state"), filepath.Join(o.dir, "bundle")
	busyboxRoot(t, filepath.Join(o.bundle, "rootfs"))
	return o
}

// configure writes config.json for a command.
func (o *oci) configure(change func(*specs.Spec), args ...string) {
	o.t.Helper()
	s := exampleSpec()
	s.Process.Terminal, s.Process.Args, s.Root.Readonly = false, args, false
	if change != nil {
		change(s)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.bundle, "config.json"), text, 0o644)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// awaitFile waits until the container's command has made a file.
func (o *oci) awaitFile(path string) {
	o.t.Helper()
	await(o.t, path, func() bool {
		_, err := os.Stat(filepath.Join(o.bundle, "rootfs", path))
		return err == nil
	})
}

type result struct {
	stdout, stderr string
	status         int
}

func (o *oci) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(o.t.Context(), o.bin, append([]string{"--root", o.root}, args...)...)
	cmd.Dir = o.bundle
	return cmd
}

// run runs a verb to its end.
func (o *oci) run(args ...string) result {
	o.t.Helper()
	return o.runCommand(o.command(args...))
}

func (o *oci) runCommand(cmd *exec.Cmd) result {
	o.t.Helper()
	// Files, as what a container inherits would keep pipes open.
	stdout, stderr := o.file("stdout"), o.file("stderr")
	defer stdout.Close()
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		o.t.Fatal(err)
	}
	return result{o.read(stdout.Name()), o.read(stderr.Name()), cmd.ProcessState.ExitCode()}
}

func (o *oci) file(name string) *os.File {
	o.t.Helper()
	f, err := os.CreateTemp(o.dir, name)
	if err != nil {
		o.t.Fatal(err)
	}
	return f
}

func (o *oci) read(path string) string {
	o.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(text)
}

// must runs a verb that has to succeed, and gives what it prints.
func (o *oci) must(args ...string) string {
	o.t.Helper()
	r := o.run(args...)
	if r.status != 0 {
		o.t.Fatalf("tandem-oci %s: exit status %d\n%s%s", strings.Join(args, " "), r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs a verb that has to fail with a status, and with words on stderr.
func (o *oci) fails(status int, words string, args ...string) {
	o.t.Helper()
	r := o.run(args...)
	if r.status != status || !strings.Contains(r.stderr, words) {
		o.t.Errorf("tandem-oci %s: exit status %d, stderr %q; want %d, and %q",
			strings.Join(args, " "), r.status, r.stderr, status, words)
	}
}

func (o *oci) state(id string) state {
	o.t.Helper()
	var s state
	if err := json.Unmarshal([]byte(o.must("state", id)), &s); err != nil {
		o.t.Fatal(err)
	}
	return s
}

// start makes and starts a container that is removed with the test.
func (o *oci) start(id string) {
	o.t.Helper()
	o.must("create", id)
	o.removeLater(id)
	o.must("start", id)
}

// removeLater removes a container with the test, whose context has ended by then.
func (o *oci) removeLater(id string) {
	o.t.Cleanup(func() {
		cmd := exec.CommandContext(context.Background(), o.bin, "--root", o.root, "delete", "--force", id)
		if out, err := cmd.CombinedOutput(); err != nil {
			o.t.Errorf("delete --force %s: %v\n%s", id, err, out)
		}
	})
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// lines are the JSON objects of a log.
func logLines(t *testing.T, path string) []map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]string
	for line := range bytes.Lines(text) {
		var object map[string]string
		if err := json.Unmarshal(line, &object); err != nil {
			t.Fatalf("%s: %v: %q", path, err, line)
		}
		objects = append(objects, object)
	}
	return objects
}
