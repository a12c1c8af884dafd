package box_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// TestRootless runs containers as a user without rights: he is root in there, and nobody outside.
func TestRootless(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.UserNS)
	const uid = 65534
	home := t.TempDir()
	for path := home; len(path) >= len(os.TempDir()); path = filepath.Dir(path) { // he has to get there
		b.check(os.Chmod(path, 0o711))
	}
	// The lab's files are on an overlay, where a user can have no layer.
	b.check(unix.Mount("tmpfs", home, "tmpfs", 0, ""))
	t.Cleanup(func() { b.check(unix.Unmount(home, 0)) })
	root := filepath.Join(home, "root")
	b.check(os.CopyFS(root, os.DirFS(b.root)))
	b.check(filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	b.check(os.Chmod(filepath.Join(root, "bin/busybox"), 0o755))
	command := func(args ...string) *exec.Cmd {
		cmd := b.command(args...)
		cmd.Env = append(os.Environ(), "TANDEM_RUN="+home+"/run", "TANDEM_ROOT="+home+"/data")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		return cmd
	}
	as := func(args ...string) result { return b.finish(command(args...)) }
	got := as("run", "--rm", "--rootfs", root, "--hostname", "hh", "sh", "-c", "id -u; hostname; touch /new; ls /new; grep -c : /proc/net/dev")
	if got.status != 0 || got.stdout != "0\nhh\n/new\n1\n" || got.stderr != "" {
		t.Errorf("run: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(root, "new")); err == nil {
		t.Error("the container wrote to the folder below it")
	}
	onTerminal := func(want string, args ...string) {
		cmd := command(args...)
		readUntil(t, b.onTerminal(cmd), want)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q on a terminal: %v", args, err)
		}
	}
	onTerminal("/dev/pts/0", "run", "--rm", "-it", "--rootfs", root, "busybox", "tty")
	if got := as("run", "-d", "--name", "front", "--rootfs", root, "sleep", "1000"); got.status != 0 {
		t.Errorf("run -d: %+v", got)
	}
	onTerminal("/dev/pts/0", "exec", "-it", "front", "busybox", "tty")
	if got := as("top", "front", "-o", "nspid,args"); got.stdout != "NSPID   CMD\n1       sleep 1000\n" {
		t.Errorf("top: %+v", got)
	}
	if got := as("cp", "front:/bin/busybox", home+"/copy"); got.status != 0 {
		t.Errorf("cp out: %+v", got)
	}
	if got := as("cp", home+"/copy", "front:/tmp/copy"); got.status != 0 {
		t.Errorf("cp in: %+v", got)
	}
	if got := as("exec", "front", "busybox", "stat", "-c", "%u:%g:%a", "/tmp/copy"); got.stdout != "0:0:755\n" {
		t.Errorf("what was copied in: %+v", got)
	}
	if got := as("stats", "--no-stream"); got.status != 0 || !strings.Contains(got.stdout, "-- / --") {
		t.Errorf("stats: %+v", got)
	}
	for _, args := range [][]string{{"stop", "-t", "0", "front"}, {"start", "front"}, {"run", "--rm", "--init", "--rootfs", root, "true"}} {
		if got := as(args...); got.status != 0 {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := as("rm", "-f", "front"); got.status != 0 {
		t.Errorf("rm -f: %+v", got)
	}
	if got := as("run", "-d", "--name", "back", "--rootfs", root, "sh", "-c", "echo up; exit 3"); got.status != 0 {
		t.Errorf("run -d: %+v", got)
	}
	if got := as("wait", "back"); got.stdout != "3\n" {
		t.Errorf("wait: %+v", got)
	}
	if got := as("logs", "back"); got.stdout != "up\n" {
		t.Errorf("logs: %+v", got)
	}
	if got := as("rm", "back"); got.status != 0 {
		t.Errorf("rm: %+v", got)
	}
	if got := as("run", "--rm", "--rootfs", "/", "true"); got.status != 125 || !strings.Contains(got.stderr, "mounted below") {
		t.Errorf("run --rootfs /: %+v", got)
	}
	if left, err := exec.Command("ls", home+"/run/boxes", home+"/data/boxes", home+"/run/engine").Output(); err != nil || strings.Count(string(left), "\n") != 5 {
		t.Errorf("left: %s, %v", left, err)
	}
}
