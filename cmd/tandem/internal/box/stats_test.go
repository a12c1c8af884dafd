package box_test

import (
	"slices"
	"strings"
	"testing"

	"tandem/cmd/tandem/internal/box"
)

func TestStats(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "busy", "-m", "64M", "--pids-limit", "50"}, "sh", "-c", "echo up; yes > /dev/null & while :; do :; done")
	b.detach([]string{"--name", "idle"}, "sleep", "1000")
	b.must(b.arguments([]string{"-d", "--name", "over"}, []string{"true"})...)
	b.must("wait", "over")
	b.await("busy", "up")
	list := decode[[]box.Stats](t, b.must("stats", "--no-stream", "--json"))
	find := func(name string) *box.Stats {
		i := slices.IndexFunc(list, func(s box.Stats) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("stats has no %s: %+v", name, list)
		}
		return &list[i]
	}
	if busy := find("busy"); busy.CPU == nil || *busy.CPU < 1 || busy.Memory == nil || busy.Memory.Limit != 64<<20 || busy.Memory.Usage == 0 ||
		busy.Pids == nil || *busy.Pids != 2 || busy.Net == nil || busy.Net.Sent != 0 {
		t.Errorf("the busy one: %+v", busy)
	}
	if idle := find("idle"); idle.CPU == nil || *idle.CPU > 50 || idle.Memory == nil || idle.Memory.Limit < 64<<20 {
		t.Errorf("the idle one: %+v", idle)
	}
	if len(list) != 2 {
		t.Errorf("%d containers, want the two that run", len(list))
	}
	table := strings.Split(b.must("stats", "--no-stream", "--all"), "\n")
	if len(table) != 4 || !strings.HasPrefix(table[0], "CONTAINER ID   NAME") || !strings.Contains(strings.Join(table, "\n"), "/ 64MiB") {
		t.Errorf("stats --all: %q", table)
	}
	if got := b.tandem("stats", "--no-stream", "nobody"); got.status != 125 || !strings.Contains(got.stderr, "nobody") {
		t.Errorf("stats of nobody: %+v", got)
	}
	b.must("rm", "-f", "busy", "idle", "over")
	b.empty()
}

// TestStatsStream goes on until those that are named are gone.
func TestStatsStream(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "brief"}, "sleep", "1000")
	cmd := b.command("stats", "--json", "brief")
	out, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	p := make([]byte, 1<<20)
	n, err := out.Read(p)
	b.check(err)
	if line := string(p[:n]); !strings.HasPrefix(line, `[{"id":"`) {
		t.Errorf("stats --json: %.80q", line)
	}
	b.must("rm", "-f", "brief")
	for err == nil {
		_, err = out.Read(p)
	}
	b.check(cmd.Wait())
	b.empty()
}

func TestTop(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "tops"}, "sh", "-c", "echo up; sleep 1000 & wait", "\x1b[31mred\n")
	b.detach([]string{"--name", "user", "-u", "4000000"}, "sh", "-c", "echo up; exec sleep 1000")
	b.await("user", "up")
	r := b.record("tops")
	for len(strings.Split(b.must("top", "tops"), "\n")) != 3 { // the shell forks when it comes to it
	}
	table := strings.Split(b.must("top", "tops"), "\n")
	if got := strings.Fields(table[0]); !slices.Equal(got, strings.Fields("UID PID PPID C STIME TTY TIME CMD")) {
		t.Errorf("headings %q", got)
	}
	if all := strings.Join(table, ""); strings.Contains(all, "\x1b") || !strings.Contains(all, "?[31mred?") || !strings.Contains(all, "root") {
		t.Errorf("top: %q", table)
	}
	rows := decode[[]map[string]string](t, b.must("top", "--json", "tops", "-o", "pid,nspid,comm", "ppid"))
	if len(rows) != 2 || rows[0]["nspid"] != "1" || rows[1]["command"] != "sleep" || rows[1]["ppid"] != rows[0]["pid"] || r.PID == 0 {
		t.Errorf("top --json: %+v", rows)
	}
	if got := b.must("top", "user", "aux"); !strings.HasPrefix(got, "USER") || !strings.Contains(got, "4000000") || !strings.Contains(got, "sleep 1000") {
		t.Errorf("top aux: %q", got)
	}
	for _, bad := range [][]string{{"top", "tops", "-o"}, {"top", "tops", "colour"}, {"top", "tops", "-Z"}, {"top", "nobody"}, {"top"}} {
		if got := b.tandem(bad...); got.status != 125 || got.stdout != "" {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	b.must("rm", "-f", "tops", "user")
	b.empty()
}
