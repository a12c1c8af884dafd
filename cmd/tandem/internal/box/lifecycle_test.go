package box_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
)

// TestStartAgain makes a container without starting it, and starts it more than once.
func TestStartAgain(t *testing.T) {
	b := newBench(t)
	b.importRoot("again:1")
	id := b.must("create", "--net", "none", "--name", "ag", "again:1", "sh", "-c", "cat /in; echo run >> /runs; exit $(cat /runs | wc -l)")
	if got := b.must("ps", "-aq", "--no-trunc"); got != id {
		t.Errorf("ps -a: %q, want %q", got, id)
	}
	if got := b.must("ps", "-q"); got != "" {
		t.Errorf("ps: %q", got)
	}
	if got := b.tandem("exec", "ag", "true"); got.status != 125 || !strings.Contains(got.stderr, "not running") {
		t.Errorf("exec in what was never started: %+v", got)
	}
	in := filepath.Join(t.TempDir(), "in")
	b.check(os.WriteFile(in, []byte("hello\n"), 0o644))
	b.must("cp", in, "ag:/in")
	for want := 1; want <= 3; want++ {
		if got := b.must("start", "ag") + b.must("wait", "ag"); got != "ag"+string(rune('0'+want)) {
			t.Errorf("run %d: %q", want, got)
		}
	}
	if got := b.must("logs", "ag"); got != "hello\nhello\nhello" {
		t.Errorf("logs: %q", got)
	}
	if got := b.tandem("start", "-a", "ag"); got.status != 4 || got.stdout != "hello\n" {
		t.Errorf("start -a: %+v", got)
	}
	if got := strings.Fields(b.must("diff", "ag")); len(got) != 4 || got[1] != "/in" || got[3] != "/runs" || got[0] != "A" || got[2] != "A" {
		t.Errorf("diff: %q", got)
	}
	b.must("rename", "ag", "other")
	if got := b.tandem("start", "ag"); got.status != 125 {
		t.Errorf("start by the old name: %+v", got)
	}
	b.must("rm", "other")
	b.must("create", "--name", "never", "again:1")
	b.must("rm", "never")
	b.empty()
}

// TestStartFails leaves a container as it was when it cannot be started.
func TestStartFails(t *testing.T) {
	b := newBench(t)
	volume := filepath.Join(t.TempDir(), "v")
	b.check(os.Mkdir(volume, 0o755))
	b.detach([]string{"--name", "fails", "-v", volume + ":/v"}, "sh", "-c", "exit 7")
	b.must("wait", "fails")
	b.check(os.Remove(volume))
	if got := b.tandem("start", "fails"); got.status != 125 || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("start: %+v", got)
	}
	if got := b.must("wait", "fails"); got != "7" {
		t.Errorf("wait: %q", got)
	}
	b.check(os.Mkdir(volume, 0o755))
	b.must("start", "fails")
	if got := b.must("wait", "fails"); got != "7" {
		t.Errorf("wait for the next: %q", got)
	}
	b.must("rm", "fails")
	b.empty()
}

// TestRename renames a container while its keeper has its record in memory.
func TestRename(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "before"}, "sh", "-c", sleeper)
	b.detach([]string{"--name", "taken"}, "sleep", "1000")
	b.await("before", "up")
	b.must("rename", "before", "after")
	for _, bad := range [][]string{{"rename", "after", "taken"}, {"rename", "after", "-x"}, {"rename", "before", "x1"}, {"rename", "after", "after"}} {
		if got := b.tandem(bad...); got.status != 125 {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	b.must("stop", "after")
	if got := b.must("wait", "after"); got != "5" {
		t.Errorf("wait: %q", got)
	}
	b.must("rm", "-f", "after", "taken")
	b.empty()
}

// TestRestartPolicy has a keeper start its container anew, until it is to stay ended.
func TestRestartPolicy(t *testing.T) {
	b := newBench(t)
	count := t.TempDir()
	script := "echo x >> /count/$1; n=$(cat /count/$1 | wc -l); echo run $n; "
	run := func(name, policy, rest string) {
		b.detach([]string{"--name", name, "--restart", policy, "-v", count + ":/count"}, "sh", "-c", script+rest, "sh", name)
	}
	run("three", "on-failure:2", "exit 3")
	run("heals", "on-failure", "[ $n -lt 3 ] && exit 1; exit 0")
	run("ever", "always", "exec sleep 1000")
	run("loops", "unless-stopped", "exit 4")
	run("signal", "always", `trap "" TERM; echo up; while :; do sleep 0.05; done`)
	for name, want := range map[string]string{"three": "3", "heals": "0"} {
		if got := b.must("wait", name); got != want {
			t.Errorf("%s ended with %q, want %s", name, got, want)
		}
		if got := b.must("logs", name); got != "run 1\nrun 2\nrun 3" {
			t.Errorf("%s: %q", name, got)
		}
		if r := b.record(name); r.Restarts != 2 {
			t.Errorf("%s was started anew %d times, want 2", name, r.Restarts)
		}
	}
	b.await("ever", "run 1")
	b.check(unix.Kill(b.record("ever").PID, unix.SIGKILL)) // by somebody else than tandem
	b.await("ever", "run 2")
	b.must("kill", "ever")
	if got := b.must("wait", "ever"); got != "137" {
		t.Errorf("after kill: %q", got)
	}
	b.await("loops", "run 4") // the pause after it is 0.8 s
	for !strings.Contains(b.must("ps"), "Restarting (4)") {
	}
	b.must("stop", "loops")
	if got := b.must("wait", "loops"); got != "4" && got != "137" { // the second if it had begun anew by then
		t.Errorf("after stop: %q", got)
	}
	b.await("signal", "up")
	b.must("stop", "-t", "0", "signal")
	if got := b.must("wait", "signal"); got != "137" || b.record("signal").Restarts != 0 {
		t.Errorf("stopped by force: %q", got)
	}
	b.must("start", "loops")
	b.must("update", "--restart", "no", "loops")
	b.must("wait", "loops")
	b.must("restart", "-t", "0", "ever")
	b.await("ever", "run 3")
	b.must("rm", "-f", "three", "heals", "ever", "loops", "signal")
	b.empty()
}

// TestUpdate changes the limits of what runs, and of what will.
func TestUpdate(t *testing.T) {
	b := newBench(t)
	const show = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes pids.max pids/pids.max 2>/dev/null | head -2"
	b.detach([]string{"--name", "up", "-m", "64M", "--pids-limit", "50"}, "sh", "-c", show+"; "+sleeper)
	b.await("up", "up")
	b.must("update", "-m", "96M", "up")
	if got := b.must("exec", "up", "sh", "-c", show); got != "100663296\n50" {
		t.Errorf("after update: %q", got)
	}
	if got := b.tandem("update", "up"); got.status != 125 {
		t.Errorf("update of nothing: %+v", got)
	}
	if got := b.tandem("update", "--cpus", "-1", "up"); got.status != 125 || !strings.Contains(got.stderr, "--cpus") {
		t.Errorf("update to nonsense: %+v", got)
	}
	b.must("stop", "up")
	b.must("update", "--pids-limit", "40", "up")
	b.must("start", "up")
	b.await("up", "40")
	b.must("rm", "-f", "up")
	b.empty()
}

// TestSharedNamespaces has containers see what is another's, or the host's.
func TestSharedNamespaces(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "other"}, "sleep", "1000")
	r := b.record("other")
	for _, test := range []struct {
		flags []string
		pid   int
		kind  string
		same  bool
	}{
		{nil, r.PID, "pid", false},
		{[]string{"--pid", "container:other"}, r.PID, "pid", true},
		{[]string{"--ipc", "container:other"}, r.PID, "ipc", true},
		{[]string{"--pid", "host"}, os.Getpid(), "pid", true},
		{[]string{"--ipc", "host"}, os.Getpid(), "ipc", true},
		{[]string{"--uts", "host"}, os.Getpid(), "uts", true},
		{[]string{"--uts", "private"}, os.Getpid(), "uts", false},
	} {
		link := "/ns/" + test.kind
		want, err := os.Readlink("/proc/" + strconv.Itoa(test.pid) + link)
		b.check(err)
		got := b.run(test.flags, "readlink", "/proc/self"+link)
		if got.status != 0 || (strings.TrimSpace(got.stdout) == want) != test.same {
			t.Errorf("%q: %+v, the other is %s", test.flags, got, want)
		}
	}
	if got := b.run([]string{"--pid", "container:other"}, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"); got.stdout != "sleep 1000 " {
		t.Errorf("process 1: %+v", got)
	}
	b.must("rm", "-f", "other")
	b.empty()
}

func TestInit(t *testing.T) {
	b := newBench(t)
	got := b.run([]string{"--init"}, "sh", "-c", "echo $$; sh -c 'sleep 0 & exit 0'; cat /proc/1/comm; exit 6")
	if got.status != 6 || !strings.HasPrefix(got.stdout, "2\ntandem") && !strings.Contains(got.stdout, "tandem-init") {
		t.Errorf("run --init: %+v", got)
	}
	got = b.run([]string{"--init", "--read-only", "-u", "1000"}, "sh", "-c", "kill -TERM $$")
	if got.status != 143 {
		t.Errorf("a command of an init's that is killed: %+v", got)
	}
	if got := b.run([]string{"--init"}, "no-such-thing"); got.status != 127 {
		t.Errorf("no command: %+v", got)
	}
	b.empty()
}

func TestPrivileged(t *testing.T) {
	b := newBench(t)
	got := b.run([]string{"--privileged"}, "sh", "-c", `grep -E "^(Seccomp|NoNewPrivs)" /proc/self/status; mount -t tmpfs x /tmp && echo mounted; grep " /sys " /proc/self/mounts | grep -c "[ ,]rw"; ls /dev | wc -l`)
	lines := strings.Split(got.stdout, "\n")
	if got.status != 0 || len(lines) < 5 || lines[0] != "NoNewPrivs:\t0" || lines[1] != "Seccomp:\t0" || !strings.Contains(got.stdout, "mounted\n1\n") {
		t.Errorf("run --privileged: %+v", got)
	}
	if got := b.run([]string{"--privileged", "--cap-drop", "sys_admin"}, "mount", "-t", "tmpfs", "x", "/tmp"); got.status == 0 {
		t.Errorf("without CAP_SYS_ADMIN: %+v", got)
	}
	if got := b.run([]string{"--oom-score-adj", "500"}, "cat", "/proc/self/oom_score_adj"); got.stdout != "500\n" {
		t.Errorf("run --oom-score-adj: %+v", got)
	}
	b.empty()
}

// TestEvents has a second process see what happens.
func TestEvents(t *testing.T) {
	b := newBench(t)
	since := time.Now().Format(time.RFC3339Nano)
	cmd := b.command("events", "--since", since, "--json")
	out, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	b.detach([]string{"--name", "seen", "-l", "a=b"}, "sh", "-c", sleeper)
	b.await("seen", "up")
	b.must("exec", "seen", "true")
	b.must("pause", "seen")
	b.must("unpause", "seen")
	b.must("rename", "seen", "seen2")
	b.must("stop", "seen2")
	b.must("rm", "seen2")
	b.run([]string{"-m", "16M", "--tmpfs", "/big"}, "dd", "if=/dev/zero", "of=/big/x", "bs=1M", "count=64")
	want := "create start exec_create: true exec_start: true exec_die pause unpause rename kill die stop destroy create start oom die destroy"
	var got []string
	lines := bufio.NewScanner(out)
	var last box.Event
	for len(got) < 17 && lines.Scan() {
		last = decode[box.Event](t, lines.Text())
		got = append(got, last.Action)
		switch last.Action {
		case "die":
			if code := last.Attributes["exitCode"]; code != "5" && code != "137" {
				t.Errorf("die: %+v", last)
			}
		case "rename":
			if last.Name != "seen2" || last.Attributes["oldName"] != "seen" || last.Labels["a"] != "b" {
				t.Errorf("rename: %+v", last)
			}
		}
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("events %q,\nwant   %q", text, want)
	}
	b.check(cmd.Process.Signal(unix.SIGINT))
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
	text := b.must("events", "--since", since, "--until", "0s", "--filter", "event=die", "--filter", "event=oom", "--filter", "container="+last.ID[:12])
	if lines := strings.Split(text, "\n"); len(lines) != 2 || !strings.Contains(lines[1], " container die "+last.ID) || !strings.Contains(lines[1], "exitCode=137") {
		t.Errorf("events of one: %q", lines)
	}
	for _, bad := range [][]string{{"--since", "soon"}, {"--filter", "x"}, {"--filter", "colour=red"}} {
		if got := b.tandem(append([]string{"events", "--until", "0s"}, bad...)...); got.status != 125 {
			t.Errorf("events %q: %+v", bad, got)
		}
	}
	b.empty()
}
