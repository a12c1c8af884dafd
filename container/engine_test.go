package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/testenv"
)

func TestRun(t *testing.T) {
	b := newBench(t)
	script := `echo pid $$; hostname; cat /proc/self/attr/none 2>/dev/null; echo home $HOME; pwd
		ip link show lo | grep -c UP; ls /proc/self/fd | wc -l; grep NoNewPrivs /proc/self/status; exit 7`
	status, out := b.run(b.spec(script))
	want := "pid 1\nbox\nhome /root\n/\n1\n4\nNoNewPrivs:\t1\n"
	if status != 7 || out != want {
		t.Errorf("status %d, output %q, want 7, %q", status, out, want)
	}
}

func TestUserAndCapabilities(t *testing.T) {
	b := newBench(t)
	s := b.spec("id; grep Cap /proc/self/status; pwd; echo $HOME; umask")
	p := s.Config.Process
	umask := uint32(0o027)
	p.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{7, 8}, Umask: &umask}
	p.Cwd = "/made/by/the/engine"
	p.Capabilities = &specs.LinuxCapabilities{
		Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"},
		Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"},
	}
	status, out := b.run(s)
	want := "uid=1000(u) gid=1000 groups=7,8\nCapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n" +
		"CapBnd:\t0000000000000021\nCapAmb:\t0000000000000020\n/made/by/the/engine\n/home/u\n0027\n"
	if status != 0 || strings.ReplaceAll(out, "groups=1000,7,8", "groups=7,8") != want {
		t.Errorf("status %d, output %q, want 0, %q", status, out, want)
	}
}

// The process gets the pipes that it is given, and nothing else: neither the file that its output goes to nor the host's
// /dev/null.
func TestStandardFiles(t *testing.T) {
	b := newBench(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	owner := func(f *os.File) uint32 {
		var s unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &s); err != nil {
			t.Fatal(err)
		}
		return s.Uid
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := b.spec("echo to the file; echo to the pipe >/proc/self/fd/2")
	s.Config.Process.User = specs.User{UID: 1000, GID: 1000}
	s.Stdin, s.Stdout, s.Stderr = null, file, w
	c, p, err := b.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	of := []uint32{owner(null), owner(file), owner(w)}
	w.Close()
	said, _ := io.ReadAll(r)
	status, err := p.Wait()
	p.Release()
	if err := errors.Join(err, c.Delete(t.Context(), false)); err != nil {
		t.Error(err)
	}
	text, _ := os.ReadFile(file.Name())
	if status.ExitStatus() != 0 || string(text) != "to the file\n" || string(said) != "to the pipe\n" {
		t.Errorf("status %d, file %q, pipe %q", status.ExitStatus(), text, said)
	}
	if want := []uint32{0, 0, 1000}; !slices.Equal(of, want) {
		t.Errorf("owners of /dev/null, file and pipe: %v, want %v", of, want)
	}
}

func TestLifeCycle(t *testing.T) {
	b := newBench(t)
	s := b.spec("echo started; exec sleep 1000")
	s.PIDFile = filepath.Join(t.TempDir(), "pid")
	c := b.create(s)
	if got := b.status(c); got != specs.StateCreated {
		t.Errorf("status %s, want created", got)
	}
	pid, err := os.ReadFile(s.PIDFile)
	if state, stateErr := c.State(); err != nil || stateErr != nil || string(pid) != fmt.Sprint(state.Pid) {
		t.Errorf("pid file %q, %v; state %+v, %v", pid, err, state, stateErr)
	}
	if _, err := b.Create(t.Context(), s); !errors.Is(err, ErrExists) {
		t.Errorf("a second one of the same ID: %v, want %v", err, ErrExists)
	}
	again, err := b.Load(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); !errors.Is(err, ErrNotCreated) {
		t.Errorf("a second start: %v, want %v", err, ErrNotCreated)
	}
	if got := b.status(c); got != specs.StateRunning {
		t.Errorf("status %s, want running", got)
	}
	if err := c.Delete(t.Context(), false); !errors.Is(err, ErrRunning) {
		t.Errorf("delete of a running one: %v, want %v", err, ErrRunning)
	}
	if list, err := b.List(); err != nil || len(list) != 1 || list[0].ID() != s.ID {
		t.Errorf("List = %v, %v", list, err)
	}
	if pids, err := c.Pids(); err != nil || !slices.Equal(pids, []int{c.state.Init.PID}) {
		t.Errorf("Pids = %v, %v", pids, err)
	}
	if err := c.Signal(t.Context(), unix.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	reap(c.state.Init.PID)
	if got := b.status(c); got != specs.StateStopped {
		t.Errorf("status %s, want stopped", got)
	}
	if err := c.Signal(t.Context(), unix.SIGTERM, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("kill of a stopped one: %v, want %v", err, ErrNotRunning)
	}
	if _, err := b.Load("never-was"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load: %v, want %v", err, ErrNotFound)
	}
}

func TestExec(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	c := b.create(s)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	own := *s.Config.Process
	own.Args = []string{"sh", "-c", "hostname; ps -o pid,comm | grep -c sleep; grep CapEff /proc/self/status; exit 3"}
	own.Capabilities = nil
	p, err := c.Exec(t.Context(), &ExecSpec{Process: &own, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(r)
	status, err := p.Wait()
	p.Release()
	if want := "box\n1\nCapEff:\t0000000000000000\n"; string(text) != want || status.ExitStatus() != 3 || err != nil {
		t.Errorf("output %q, status %d, %v, want %q, 3", text, status.ExitStatus(), err, want)
	}
	own.Args = []string{"frobnicate"}
	if _, err := c.Exec(t.Context(), &ExecSpec{Process: &own}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("exec of what is not there: %v, want %v", err, unix.ENOENT)
	}
}

func TestPause(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	c := b.create(s)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.status(c); got != StatePaused {
		t.Errorf("status %s, want paused", got)
	}
	if _, err := c.Exec(t.Context(), &ExecSpec{Process: s.Config.Process}); !errors.Is(err, ErrPaused) {
		t.Errorf("exec: %v, want %v", err, ErrPaused)
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.status(c); got != specs.StateRunning {
		t.Errorf("status %s, want running", got)
	}
}

// Hooks come in the specification's order, each where it says.
func TestHooks(t *testing.T) {
	b := newBench(t)
	log := filepath.Join(t.TempDir(), "log")
	inRoot := filepath.Join(b.root, "log")
	hook := func(name, file string) []specs.Hook {
		script := fmt.Sprintf(`read state; echo %s $(echo "$state" | grep -o '"status":"[a-z]*"') $(hostname | grep -c box) >>%s`, name, file)
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}
	}
	s := b.spec("echo process >>/log")
	s.Config.Hooks = &specs.Hooks{
		CreateRuntime: hook("createRuntime", log), CreateContainer: hook("createContainer", log),
		StartContainer: hook("startContainer", "/log"), Poststart: hook("poststart", log), Poststop: hook("poststop", log),
	}
	if status, out := b.run(s); status != 0 {
		t.Errorf("status %d, output %q", status, out)
	}
	outside, _ := os.ReadFile(log)
	inside, _ := os.ReadFile(inRoot)
	want := "createRuntime \"status\":\"creating\" 0\ncreateContainer \"status\":\"creating\" 1\n" +
		"poststart \"status\":\"running\" 0\npoststop \"status\":\"stopped\" 0\n"
	if string(outside) != want {
		t.Errorf("hooks on the host: %q, want %q", outside, want)
	}
	if want := "startContainer \"status\":\"created\" 1\nprocess\n"; string(inside) != want {
		t.Errorf("hook in the container: %q, want %q", inside, want)
	}
}

// A hook is told the process's number as it is where the hook runs.
func TestHooksAreToldTheNumber(t *testing.T) {
	b := newBench(t)
	log := filepath.Join(t.TempDir(), "log")
	hook := func(file string) []specs.Hook {
		script := fmt.Sprintf(`read state; echo "$state" | grep -o '"pid":[0-9]*' >>%s`, file)
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}
	}
	s := b.spec("exec cat /log")
	s.Config.Hooks = &specs.Hooks{CreateRuntime: hook(log), CreateContainer: hook(log), StartContainer: hook("/log")}
	c := b.create(s)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	outside, _ := os.ReadFile(log)
	inside, _ := os.ReadFile(filepath.Join(b.root, "log"))
	if want := fmt.Sprintf("\"pid\":%d\n\"pid\":1\n", c.state.Init.PID); string(outside) != want || string(inside) != "\"pid\":1\n" {
		t.Errorf("told %q and %q, want %q and 1", outside, inside, want)
	}
}

// giveRoot gives the root file system to a user, and lets everybody reach it.
func (b *bench) giveRoot(uid int) {
	b.t.Helper()
	if err := os.Chown(b.root, uid, uid); err != nil {
		b.t.Fatal(err)
	}
	for dir := filepath.Dir(b.root); dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			b.t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o011 == 0 {
			if err := os.Chmod(dir, mode|0o011); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func TestUserNamespace(t *testing.T) {
	testenv.Need(t, testenv.UserNS)
	b := newBench(t)
	b.giveRoot(100000)
	s := b.spec("id -u; cat /proc/self/uid_map; echo x >/dev/null && echo null")
	l := s.Config.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	l.GIDMappings = l.UIDMappings
	status, out := b.run(s)
	if fields := strings.Fields(out); status != 0 || !slices.Equal(fields, []string{"0", "0", "100000", "65536", "null"}) {
		t.Errorf("status %d, output %q", status, out)
	}
	// A working folder that is nobody's in there lets neither root nor the user in.
	if err := os.Mkdir(filepath.Join(b.root, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = b.spec("true")
	s.Config.Linux.Namespaces = append(s.Config.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Config.Linux.UIDMappings, s.Config.Linux.GIDMappings = l.UIDMappings, l.GIDMappings
	s.Config.Process.Cwd, s.Config.Process.User.UID = "/closed", 1000
	if _, err := b.Create(t.Context(), s); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "chdir /closed") {
		t.Errorf("create: %v, want %v of chdir", err, unix.EACCES)
	}
	b.nothingLeft(s)
}

// Without a mount namespace the host's mounts are what they were, after the container's end and after a failure.
func TestHostMounts(t *testing.T) {
	b := newBench(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"sh", "frobnicate"} {
		s := b.spec("ls /; readlink /proc/self/ns/mnt; test -c /dev/null && echo null")
		s.Config.Process.Args[0] = command
		s.Config.Linux.Namespaces = slices.DeleteFunc(s.Config.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
		if command == "sh" {
			own, _ := os.Readlink("/proc/self/ns/mnt")
			status, out := b.run(s)
			if status != 0 || !strings.Contains(out, own) || !strings.Contains(out, "null") || strings.Contains(out, "home") {
				t.Errorf("status %d, output %q, want 0, a root of its own and %s", status, out, own)
			}
		} else if _, err := b.Create(t.Context(), s); !errors.Is(err, unix.ENOENT) {
			t.Errorf("create: %v, want %v", err, unix.ENOENT)
		}
		b.nothingLeft(s)
		if after, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !bytes.Equal(before, after) {
			t.Errorf("mounts of the host after %s, %v:\n%s\nbefore:\n%s", command, err, after, before)
		}
	}
}

func TestLimits(t *testing.T) {
	testenv.Need(t, testenv.Cgroup1)
	b := newBench(t)
	limit := int64(20)
	s := b.spec("exec sleep 1000")
	s.Config.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
	c := b.create(s)
	file := "/sys/fs/cgroup/pids" + s.Config.Linux.CgroupsPath + "/pids.max"
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != "20" {
		t.Errorf("%s is %q, %v", file, text, err)
	}
	limit = 30
	if err := c.Update(t.Context(), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != "30" {
		t.Errorf("%s is %q after an update, %v", file, text, err)
	}
}

// The command's limit of open files is not that of the process that makes its mounts.
func TestFewOpenFiles(t *testing.T) {
	b := newBench(t)
	s := b.spec("ulimit -n; ulimit -H -n")
	s.Config.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 4, Hard: 5}}
	s.Config.Process.User = specs.User{UID: 1000, GID: 1000}
	if status, out := b.run(s); status != 0 || out != "4\n5\n" {
		t.Errorf("status %d, output %q, want limits of 4 and 5", status, out)
	}
	c := b.running(nil)
	process := *c.config.Process
	process.Rlimits = s.Config.Process.Rlimits
	if out, err := b.inside(c, ExecSpec{Process: &process}, "ulimit -n"); out != "4\n" || err != nil {
		t.Errorf("in one that runs: %q, %v", out, err)
	}
}

func TestStateIsSpec(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	s.Config.Annotations = map[string]string{"a": "b"}
	c := b.create(s)
	state, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(state)
	for _, want := range []string{`"ociVersion":"` + specs.Version + `"`, `"id":"` + s.ID + `"`, `"status":"created"`, `"annotations":{"a":"b"}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("state %s lacks %s", text, want)
		}
	}
}

// A process that is started in a container hides what it is a copy of before anybody in there can see it (CVE-2016-9962).
func TestExecHidesBeforeItJoins(t *testing.T) {
	b := newBench(t)
	s := b.spec("exec sleep 1000")
	c := b.create(s)
	exec := &ExecSpec{Process: s.Config.Process}
	x, err := c.execProcess(exec)
	if err != nil {
		t.Fatal(err)
	}
	p := child.New()
	if err := c.writeExec(p, exec, x, os.Stdin); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, phase := range p.Phases() {
		for _, step := range phase.Steps {
			if step.Op == "setns" || step.Object == "PR_SET_DUMPABLE" {
				order = append(order, step.Op)
			}
		}
	}
	if !slices.Equal(order, []string{"prctl", "setns"}) {
		t.Errorf("order %q, want prctl, setns", order)
	}
}
