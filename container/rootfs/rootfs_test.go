package rootfs

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// busybox makes a root file system with nothing in it but busybox, in a folder of the test's.
func busybox(t testing.TB) string {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Busybox)
	root := filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(root+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/bin/busybox", program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "ls", "stat", "mount", "umount", "echo", "readlink", "test", "touch", "id", "mkdir", "tty", "rm", "wc", "grep", "find", "umask"} {
		if err := os.Symlink("busybox", root+"/bin/"+name); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// box is a container of a test's: a root file system, and a shell in it.
type box struct {
	spec       Spec
	namespaces uint64
	// first, before and after add to the program: at its start, and on both sides of Enter.
	first         func(*child.Program)
	before, after func(*child.Program, *Build)
	script        string
	// at is called where the program stands at a sync.
	at func(name string, process *child.Process)
	// maps are those of the user namespace, if it has one.
	maps [2]string
}

// run runs the script in the box, and gives what it has written.
func (x box) run(t *testing.T) (string, error) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS)
	b, err := New(x.spec)
	if err != nil {
		return "", err
	}
	defer b.Close()
	p := child.New()
	if x.namespaces&unix.CLONE_NEWUSER != 0 {
		p.Sync("born", "")
		p.Call("setresgid", unix.SYS_SETRESGID, "", "", child.Int("r", 0), child.Int("e", 0), child.Int("s", 0))
		p.Call("setresuid", unix.SYS_SETRESUID, "", "", child.Int("r", 0), child.Int("e", 0), child.Int("s", 0))
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := p.File("out", int(w.Fd()))
	for fd := 1; fd <= 2; fd++ {
		p.Call("dup3", unix.SYS_DUP3, "", "", out, child.Int("new", fd), child.Int("flags", 0))
	}
	if x.first != nil {
		x.first(p)
	}
	b.Prepare(p)
	if x.before != nil {
		x.before(p, b)
	}
	b.Enter(p)
	b.Finish(p)
	if x.after != nil {
		x.after(p, b)
	}
	p.Exec(p.FindCommand(child.Command{Args: []string{"sh", "-c", x.script}, Path: []string{"/bin"}}))
	process, err := p.Start(child.Options{Namespaces: unix.CLONE_NEWNS | x.namespaces})
	w.Close()
	if err != nil {
		return "", err
	}
	defer process.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { process.Signal(syscall.SIGKILL) })()
	var said error
	for {
		name, err := process.Next(ctx)
		if err != nil {
			said = err
			break
		}
		if name == "born" {
			x.mapIDs(t, process.PID)
		}
		if x.at != nil {
			x.at(name, process)
		}
		if err := process.Go(); err != nil {
			t.Error(err)
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	status, err := process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(said, io.EOF) {
		return string(text), said
	}
	if status.ExitStatus() != 0 {
		t.Errorf("script %q: status %#x, wrote:\n%s", x.script, status, text)
	}
	return string(text), nil
}

func (x box) mapIDs(t *testing.T, pid int) {
	t.Helper()
	for i, name := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), name), []byte(x.maps[i]), 0); err != nil {
			t.Error(err)
		}
	}
}

// must is run where nothing may fail.
func (x box) must(t *testing.T) string {
	t.Helper()
	text, err := x.run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return text
}

// mounts reads /proc/self/mountinfo: what is mounted, by its place. The last one counts.
func mounts(text string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 6 && strings.Contains(line, " - ") {
			all[f[4]] = strings.TrimSpace(line)
		}
	}
	return all
}

// usual are the mounts of every container.
func usual(more ...specs.Mount) []specs.Mount {
	return append([]specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}, more...)
}

// inMountNS calls f on a thread that has a mount namespace of its own, with nothing shared in it. The thread ends then.
func inMountNS(t *testing.T, f func() bool) bool {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Error(err)
		return false
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Error(err)
		return false
	}
	return f()
}
