package box_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
)

const sleeper = `trap "echo got it; exit 5" TERM; echo up; while :; do sleep 0.05; done`

func TestDetached(t *testing.T) {
	b := newBench(t)
	cid := filepath.Join(t.TempDir(), "cid")
	id := b.detach([]string{"--name", "one", "-l", "a=b", "--cidfile", cid}, "sh", "-c", "echo out; echo err >&2; "+sleeper)
	if text, err := os.ReadFile(cid); err != nil || string(text) != id || len(id) != 64 {
		t.Errorf("the ID is %q, in the file %q, %v", id, text, err)
	}
	b.await("one", "up")
	if got := b.tandem("logs", "one"); got.stdout != "out\nup\n" || got.stderr != "err\n" {
		t.Errorf("logs: %+v", got)
	}
	if got := b.tandem("logs", "--tail", "1", "one"); strings.Count(got.stdout+got.stderr, "\n") != 1 {
		t.Errorf("logs --tail 1: %+v", got)
	}
	if got := b.must("ps", "-q", "--no-trunc"); got != id {
		t.Errorf("ps -q: %q, want %q", got, id)
	}
	table := strings.Split(b.must("ps"), "\n")
	if len(table) != 2 || !strings.HasPrefix(table[1], id[:12]) || !strings.HasSuffix(table[1], "one") || !strings.Contains(table[1], "Up ") {
		t.Errorf("ps: %q", table)
	}
	if got := b.tandem("run", "--name", "one", "--rootfs", b.root, "true"); got.status != 125 || !strings.Contains(got.stderr, id[:12]) {
		t.Errorf("a name that is taken: %+v", got)
	}
	if got := b.tandem("rm", "one"); got.status != 125 || !strings.Contains(got.stderr, "--force") {
		t.Errorf("rm of one that runs: %+v", got)
	}
	follower := b.command("logs", "-f", id[:10])
	var followed strings.Builder
	follower.Stdout = &followed
	b.check(follower.Start())
	if got := b.must("stop", "one"); got != "one" {
		t.Errorf("stop: %q", got)
	}
	b.check(follower.Wait())
	if followed.String() != "out\nup\ngot it\n" {
		t.Errorf("logs -f: %q", followed.String())
	}
	if got := b.must("wait", id[:12]); got != "5" {
		t.Errorf("wait: %q", got)
	}
	list := decode[[]struct {
		Status  box.Status
		Options struct{ Labels map[string]string }
		Exit    struct{ Status int }
	}](t, b.must("inspect", "one"))
	if list[0].Status != box.Exited || list[0].Exit.Status != 5 || list[0].Options.Labels["a"] != "b" {
		t.Errorf("inspect: %+v", list)
	}
	if got := b.must("ps", "-q"); got != "" {
		t.Errorf("ps -q of what has ended: %q", got)
	}
	if got := b.must("ps", "-a"); !strings.Contains(got, "Exited (5)") {
		t.Errorf("ps -a: %q", got)
	}
	if got := b.tandem("stop", "one"); got.status != 0 {
		t.Errorf("stop of what has ended: %+v", got)
	}
	if got := b.tandem("exec", "one", "true"); got.status != 125 || !strings.Contains(got.stderr, "not running") {
		t.Errorf("exec in what has ended: %+v", got)
	}
	b.must("rm", "one")
	if got := b.tandem("rm", "one"); got.status != 125 || !strings.Contains(got.stderr, "no such container") {
		t.Errorf("rm of what is gone: %+v", got)
	}
	b.empty()
}

func TestDetachedThatDoesNotStart(t *testing.T) {
	b := newBench(t)
	if got := b.tandem(b.arguments([]string{"-d"}, []string{"no-such-thing"})...); got.status != 127 || !strings.Contains(got.stderr, "not found") || got.stdout != "" {
		t.Errorf("run -d of no command: %+v", got)
	}
	b.empty()
}

func TestDetachedRemoves(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--rm", "--name", "brief", "-i"}, "sh", "-c", "cat; exit 3") // its standard input does not end
	waiter := b.command("wait", "brief")
	var status strings.Builder
	waiter.Stdout = &status
	b.check(waiter.Start())
	for !waitsFor(t, waiter.Process.Pid) {
	}
	b.must("kill", "brief")
	b.check(waiter.Wait())
	if status.String() != "137\n" {
		t.Errorf("wait for one that is removed at its end: %q, want 137", status.String())
	}
	b.empty()
}

// waitsFor tells whether a process holds a pidfd.
func waitsFor(t *testing.T, pid int) bool {
	links, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && (strings.Contains(target, "pidfd") || strings.HasPrefix(target, "pidfd:")) {
			return true
		}
	}
	return false
}

func TestExec(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "home", "-e", "A=1", "-w", "/tmp"}, "sh", "-c", sleeper)
	b.await("home", "up")
	for _, test := range []struct {
		flags, script string
		want          string
		status        int
	}{
		{"", "echo $A; pwd; id -u; exit 4", "1\n/tmp\n0\n", 4},
		{"-e A=2 -w /bin -u u", "echo $A; pwd; id; grep CapEff /proc/self/status", "2\n/bin\nuid=1000(u) gid=1001(ug) groups=7(more)\nCapEff:\t0000000000000000\n", 0},
		{"", "kill -9 $$", "", 137},
	} {
		args := append(append([]string{"exec"}, strings.Fields(test.flags)...), "home", "sh", "-c", test.script)
		if got := b.tandem(args...); got.stdout != test.want || got.status != test.status {
			t.Errorf("%q: %+v, want %q, %d", args, got, test.want, test.status)
		}
	}
	if got := b.tandem("exec", "home", "no-such-thing"); got.status != 127 {
		t.Errorf("exec of no command: %+v", got)
	}
	cmd := b.command("exec", "-i", "home", "cat")
	cmd.Stdin = strings.NewReader("typed\n")
	if got := b.finish(cmd); got.stdout != "typed\n" {
		t.Errorf("exec -i: %+v", got)
	}
	b.must("pause", "home")
	if got := b.record("home").Status(); got != box.Paused {
		t.Errorf("status %s, want paused", got)
	}
	if got := b.tandem("exec", "home", "true"); got.status != 125 || !strings.Contains(got.stderr, "paused") {
		t.Errorf("exec in a paused one: %+v", got)
	}
	b.must("unpause", "home")
	b.must("pause", "home")
	if got := b.must("stop", "home") + b.must("wait", "home"); got != "home5" {
		t.Errorf("stop of a paused one: %q", got)
	}
	b.must("rm", "home")
	b.empty()
}

// TestKeeperKilled kills the process that keeps a box: the box is dead then, and gc removes all that is left of it.
func TestKeeperKilled(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "orphan"}, "sh", "-c", sleeper)
	b.await("orphan", "up")
	r := b.record("orphan")
	b.check(unix.Kill(r.Keeper.PID, unix.SIGKILL))
	b.check(r.Keeper.Wait(t.Context()))
	if got := b.must("ps", "-a"); !strings.Contains(got, "Dead") {
		t.Errorf("ps -a: %q", got)
	}
	if got := b.tandem("wait", "orphan"); got.status != 125 || !strings.Contains(got.stderr, "gc") {
		t.Errorf("wait: %+v", got)
	}
	c, err := r.Container()
	b.check(err)
	g, err := c.Cgroup()
	b.check(err)
	dry := decode[[]box.Leftover](t, b.must("system", "gc", "--dry-run", "--json"))
	if len(dry) != 1 || dry[0].Name != "orphan" {
		t.Errorf("gc --dry-run: %+v", dry)
	}
	if pids, err := g.AllPids(); err != nil || len(pids) == 0 {
		t.Errorf("after --dry-run it has processes %v, %v", pids, err)
	}
	b.must("system", "gc")
	for _, path := range g.Paths() {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after gc there is %s: %v", path, err)
		}
	}
	b.empty()
}

// TestCollectStrays has gc remove what belongs to no box at all, and leave a box that runs alone.
func TestCollectStrays(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "good"}, "sh", "-c", sleeper)
	stray := strings.Repeat("ab", 32)
	b.check(os.MkdirAll(filepath.Join(b.home.Data, "boxes", stray, "upper"), 0o700))
	b.check(os.MkdirAll(filepath.Join(b.home.Run, "boxes", stray), 0o700))
	removed := decode[[]box.Leftover](t, b.must("system", "gc", "--json"))
	if len(removed) != 2 {
		t.Errorf("gc: %+v, want two folders", removed)
	}
	if got := b.must("exec", "good", "echo", "alive"); got != "alive" {
		t.Errorf("the box that runs: %q", got)
	}
	uses := decode[[]struct {
		Kind   string
		Active int
	}](t, b.must("system", "df", "--json"))
	if len(uses) != 2 || uses[1].Active != 1 {
		t.Errorf("df: %+v", uses)
	}
	b.must("rm", "-f", "good")
	b.empty()
}
