package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// TestLifeCycle goes through the states of runtime.md, "Lifecycle".
func TestLifeCycle(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} },
		"sh", "-c", "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.01; done")
	pidFile := filepath.Join(o.dir, "pid")
	before := time.Now().Add(-time.Second)
	o.must("create", "--bundle", o.bundle, "--pid-file", pidFile, "box")

	s := o.state("box")
	if s.Status != "created" || s.ID != "box" || s.Bundle != o.bundle || s.Version != specs.Version ||
		s.Annotations["a"] != "b" {
		t.Errorf("state after create: %+v", s)
	}
	if want := filepath.Join(o.bundle, "rootfs"); s.Rootfs != want || s.Owner != "root" || s.Created.Before(before) {
		t.Errorf("runc's fields of the state: rootfs %q, owner %q, created %v", s.Rootfs, s.Owner, s.Created)
	}
	if got := o.read(pidFile); got != strconv.Itoa(s.PID) {
		t.Errorf("pid file has %q, state %d", got, s.PID)
	}
	if _, err := os.Stat(filepath.Join(o.bundle, "rootfs", "ready")); err == nil {
		t.Error("the command ran before start")
	}
	o.fails(1, "container with given ID already exists", "create", "box")

	o.must("start", "box")
	o.awaitFile("ready")
	if s := o.state("box"); s.Status != "running" {
		t.Errorf("state after start: %s", s.Status)
	}
	o.fails(1, "created", "start", "box")
	o.fails(1, "not stopped", "delete", "box")

	o.must("kill", "box", "0")
	o.must("kill", "box")
	await(t, "the end", func() bool { return o.state("box").Status == "stopped" })
	if s := o.state("box"); s.PID != 0 {
		t.Errorf("pid of a stopped container is %d", s.PID)
	}
	o.fails(1, "not running", "kill", "box", "KILL")
	o.fails(1, "not running", "kill", "box", "0")
	o.must("delete", "box")
	for _, verb := range []string{"state", "start", "kill", "delete"} {
		o.fails(1, "does not exist", verb, "box")
	}
	o.must("delete", "--force", "box")
}

func TestRunTakesTheStatus(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 42"}, 42},
		{[]string{"sh", "-c", "kill -KILL $$"}, 0}, // pid 1 is immune to its own
		{[]string{"sh", "-c", "sh -c 'kill -TERM $$'; exit $?"}, 128 + 15},
		{[]string{"nosuch"}, 1},
	} {
		o.configure(nil, test.args...)
		if r := o.run("run", "box"); r.status != test.want {
			t.Errorf("run %q = %d, want %d; %s", test.args, r.status, test.want, r.stderr)
		}
	}
	if list := o.must("list", "--quiet"); list != "" {
		t.Errorf("run left %q", list)
	}
	o.configure(nil, "echo", "hello")
	if out := o.must("run", "--keep", "box"); out != "hello\n" {
		t.Errorf("run prints %q", out)
	}
	if s := o.state("box"); s.Status != "stopped" {
		t.Errorf("run --keep leaves it %s", s.Status)
	}
	o.must("delete", "box")
}

// TestRunForwardsSignals sends one to tandem-oci for the container.
func TestRunForwardsSignals(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(nil, "sh", "-c", "trap 'exit 9' USR1; touch /ready; while :; do sleep 0.01; done")
	cmd := o.command("run", "box")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o.awaitFile("ready")
	if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 9 {
		t.Errorf("exit status %d, want the handler's 9", got)
	}
}

// A signal that comes when the command has just been started, and that can keep it from nothing any more, is the command's.
func TestRunForwardsEarlySignals(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	script := fmt.Sprintf("while ! [ -e %s ]; do sleep 0.01; done; kill -TERM $PPID", filepath.Join(o.bundle, "rootfs", "ready"))
	o.configure(func(s *specs.Spec) {
		s.Version = "1.2.0" // in which a hook that fails now ends nothing
		s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}}
	}, "sh", "-c", "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.01; done")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.bin, "--root", o.root, "run", "box")
	cmd.Dir = o.bundle
	t.Cleanup(func() { _ = exec.Command(o.bin, "--root", o.root, "delete", "--force", "box").Run() })
	if r := o.runCommand(cmd); r.status != 9 {
		t.Errorf("exit status %d, %q, want the handler's 9", r.status, r.stderr)
	}
}

// Who removes a container that another stays with removes it together with that: its hooks run once.
func TestDeleteWhileItRuns(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	log := filepath.Join(o.dir, "hook")
	for i := range 5 {
		o.configure(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo gone >>" + log}}}}
		}, "sh", "-c", "touch /ready$0; exec sleep 1000", strconv.Itoa(i))
		cmd := o.command("run", "box")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		o.awaitFile("ready" + strconv.Itoa(i))
		o.must("delete", "--force", "box")
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 128+9 {
			t.Errorf("exit status of run: %d", got)
		}
		if got, want := o.read(log), strings.Repeat("gone\n", i+1); got != want {
			t.Fatalf("the hook says %q, want %q", got, want)
		}
	}
}

// A deletion that is killed, before whichever of its changes, can be done again, and leaves no ID that is nobody's and taken.
func TestDeleteIsKilled(t *testing.T) {
	needContainers(t)
	testenv.Need(t, testenv.Strace)
	o := newOCI(t)
	o.configure(nil, "sleep", "1000")
	changes := "unlink,unlinkat,rmdir,rename,renameat,renameat2"
	for n := 1; ; n++ {
		o.must("create", "box")
		cmd := exec.CommandContext(t.Context(), "strace", "-f", "-o", "/dev/null", "-e", "trace="+changes,
			"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", changes, n), o.bin, "--root", o.root, "delete", "--force", "box")
		err := cmd.Run()
		o.must("delete", "--force", "box")
		if err == nil {
			break
		}
		if n > 100 {
			t.Fatal("it never comes to its end")
		}
	}
}

// A start that is killed, before whichever of its changes, has started the container, or can be done again.
func TestStartIsKilled(t *testing.T) {
	needContainers(t)
	testenv.Need(t, testenv.Strace)
	o := newOCI(t)
	const changes = "write,unlink,unlinkat"
	for n := 1; ; n++ {
		ready := "ready" + strconv.Itoa(n)
		o.configure(nil, "sh", "-c", "touch /"+ready+"; exec sleep 1000")
		o.must("create", "box")
		o.removeLater("box")
		cmd := exec.CommandContext(t.Context(), "strace", "-f", "-o", "/dev/null", "-e", "trace="+changes,
			"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", changes, n), o.bin, "--root", o.root, "start", "box")
		err := cmd.Run()
		if o.state("box").Status == "created" {
			o.run("start", "box") // it may be under way
		}
		o.awaitFile(ready)
		await(t, "the status", func() bool { return o.state("box").Status == "running" })
		o.must("delete", "--force", "box")
		if err == nil {
			break
		}
		if n > 100 {
			t.Fatal("it never comes to its end")
		}
	}
}

// A process that nobody can be told of is not left.
func TestExecWithoutPIDFDSocket(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(nil, "sleep", "1000")
	o.start("box")
	for _, flag := range []string{"--detach", "--tty=false"} {
		o.fails(255, "--pidfd-socket", "exec", flag, "--pidfd-socket", filepath.Join(o.dir, "none"), "box", "sleep", "2000")
		if table := o.must("ps", "box", "-o", "pid,args"); strings.Contains(table, "sleep 2000") {
			t.Errorf("after exec %s there is\n%s", flag, table)
		}
	}
}

func TestExec(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "FROM=config") }, "sleep", "1000")
	o.start("box")
	process := filepath.Join(o.dir, "process.json")
	const description = `{"args":["sh","-c","echo $X; exit 4"],"env":["X=json","PATH=/bin"],"cwd":"/tmp","user":{}}`
	if err := os.WriteFile(process, []byte(description), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"box", "sh", "-c", "echo $FROM; exit 3"}, 3, "config\n"},
		{[]string{"--env", "A=b c", "-e", "FROM=exec", "box", "sh", "-c", "echo $A $FROM"}, 0, "b c exec\n"},
		{[]string{"--cwd", "/etc", "box", "pwd"}, 0, "/etc\n"},
		{
			[]string{"--user", "1000:1001", "-g", "7", "-g", "8", "box", "sh", "-c", "id -u; id -g; id -G"},
			0,
			"1000\n1001\n1001 7 8\n",
		},
		{[]string{"--process", process, "box"}, 4, "json\n"},
		{[]string{"box", "ls", "--help-is-not-ours"}, 1, ""},
		{[]string{"box", "nosuch"}, 255, ""},
	} {
		if r := o.run(append([]string{"exec"}, test.args...)...); r.status != test.status || r.stdout != test.want {
			t.Errorf("exec %q = %d, %q, %q; want %d, %q", test.args, r.status, r.stdout, r.stderr, test.status, test.want)
		}
	}
	const script = "while read k v; do case $k in Cap*) echo $k $v;; esac; done < /proc/self/status"
	caps := o.must("exec", "--cap", "net_raw", "box", "sh", "-c", script)
	const none, some = "0000000000000000", "0000000020002420"
	want := fmt.Sprintf("CapInh: %s\nCapPrm: %s\nCapEff: %s\nCapBnd: %s\nCapAmb: %s\n", none, some, some, some, none)
	if caps != want {
		t.Errorf("capabilities with NET_RAW:\n%swant\n%s", caps, want)
	}

	pidFile := filepath.Join(o.dir, "execpid")
	o.must("exec", "--detach", "--pid-file", pidFile, "box", "sleep", "2000")
	var pids []int
	if err := json.Unmarshal([]byte(o.must("ps", "--format", "json", "box")), &pids); err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(o.read(pidFile))
	if !slices.Contains(pids, pid) || !slices.Contains(pids, o.state("box").PID) || len(pids) != 2 {
		t.Errorf("ps = %v, pid file %s, first process %d", pids, o.read(pidFile), o.state("box").PID)
	}
	table := o.must("ps", "box", "-o", "pid,args")
	if n := strings.Count(table, "\n"); n != 3 || !strings.Contains(table, "sleep 2000") {
		t.Errorf("ps prints %q", table)
	}
	// This process has become its parent. A PID namespace is not gone before all its zombies are.
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
}

func TestPauseAndUpdate(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(nil, "sleep", "1000")
	o.start("box")
	o.must("pause", "box")
	if s := o.state("box"); s.Status != "paused" {
		t.Errorf("state after pause: %s", s.Status)
	}
	o.fails(255, "paused", "exec", "box", "true")
	o.must("resume", "box")
	o.must("exec", "box", "true")
	o.must("update", "--pids-limit", "33", "--memory", "64M", "box")
	cmd := o.command("update", "--resources", "-", "box")
	cmd.Stdin = strings.NewReader(`{"cpu":{"shares":512}}`)
	if r := o.runCommand(cmd); r.status != 0 {
		t.Errorf("update --resources -: %s", r.stderr)
	}
	o.fails(1, "no limit is named", "update", "box")
	var e struct {
		Type, ID string
		Data     struct {
			Memory struct{ Usage struct{ Limit uint64 } }
			Pids   struct{ Current, Limit uint64 }
		}
	}
	if err := json.Unmarshal([]byte(o.must("events", "--stats", "box")), &e); err != nil {
		t.Fatal(err)
	}
	if pids := e.Data.Pids; e.Type != "stats" || e.ID != "box" || pids.Limit != 33 || pids.Current != 1 ||
		e.Data.Memory.Usage.Limit != 64<<20 {
		t.Errorf("events --stats: %+v", e)
	}
}

// TestConsoleSocket takes a terminal over a socket, as conmon and containerd's shim do.
func TestConsoleSocket(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	path := filepath.Join(o.dir, "console.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	o.configure(func(s *specs.Spec) {
		s.Process.Terminal = true
		s.Process.ConsoleSize = &specs.Box{Height: 20, Width: 70}
	}, "sh", "-c", "tty; exec sleep 1000")
	o.fails(1, "--console-socket", "create", "none")
	masters := make(chan *os.File, 1)
	go func() { masters <- receiveFile(t, listener) }()
	o.must("create", "--console-socket", path, "box")
	o.removeLater("box")
	master := <-masters
	if master == nil {
		t.Fatal("no terminal")
	}
	defer master.Close()
	o.must("start", "box")
	line := make([]byte, 64)
	n, err := master.Read(line)
	if got := strings.TrimSpace(string(line[:n])); err != nil || !strings.HasPrefix(got, "/dev/pts/") {
		t.Errorf("tty prints %q, %v", got, err)
	}
	size, err := unix.IoctlGetWinsize(int(master.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 20 || size.Col != 70 {
		t.Errorf("size of the terminal: %+v, %v", size, err)
	}
}

func receiveFile(t *testing.T, listener *net.UnixListener) *os.File {
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Error(err)
		return nil
	}
	defer conn.Close()
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := conn.ReadMsgUnix(name, rights)
	if err != nil {
		t.Error(err)
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		t.Errorf("control messages: %v, %v", messages, err)
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Errorf("descriptors: %v, %v", fds, err)
		return nil
	}
	return os.NewFile(uintptr(fds[0]), string(name[:n]))
}

// TestPassedDescriptors hands over one, and another as systemd does.
func TestPassedDescriptors(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(nil, "sh", "-c", "echo $LISTEN_FDS; cat <&3; cat <&4; ls /proc/self/fd | wc -l")
	cmd := o.command("run", "--preserve-fds", "1", "box")
	for _, text := range []string{"three\n", "four\n", "five\n"} {
		f := o.file("passed")
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	if r := o.runCommand(cmd); r.status != 0 || !strings.HasPrefix(r.stdout, "1\nthree\nfour\n") {
		t.Errorf("run = %d, %q, %q", r.status, r.stdout, r.stderr)
	}
}

// TestErrorsForCallers holds the form in which podman and containerd read a failure.
func TestErrorsForCallers(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	o.configure(nil, "nosuch")
	log := filepath.Join(o.dir, "log.json")
	r := o.run("--log", log, "--log-format", "json", "create", "box")
	lines := logLines(t, log)
	if r.status != 1 || len(lines) != 1 || lines[0]["level"] != "error" || !strings.Contains(lines[0]["msg"], "nosuch") ||
		!strings.Contains(lines[0]["msg"], "no such file or directory") {
		t.Errorf("create = %d, log %v", r.status, lines)
	}
	if _, err := time.Parse(time.RFC3339Nano, lines[0]["time"]); err != nil {
		t.Errorf("time of the log: %v", err)
	}
	if !strings.HasPrefix(r.stderr, "tandem-oci: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr is %q, want one line", r.stderr)
	}
	if err := os.WriteFile(filepath.Join(o.bundle, "config.json"), []byte(`{"ociVersion": 7}`), 0o644); err != nil {
		t.Fatal(err)
	}
	o.fails(1, "ociVersion is a number, want string", "create", "box")
	if err := os.Remove(filepath.Join(o.bundle, "config.json")); err != nil {
		t.Fatal(err)
	}
	o.fails(1, "config.json: no such file or directory", "create", "box")
	if list := o.must("list", "--format", "json"); list != "[]\n" {
		t.Errorf("list after failures: %s", list)
	}
}
