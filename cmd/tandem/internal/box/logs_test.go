package box_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/cmd/tandem/internal/box"
)

// TestLogs prints parts of a log, and goes on with what comes.
func TestLogs(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "five"}, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.01; done; until [ -e /tmp/on ]; do sleep 0.05; done; echo 6; exit 4")
	b.await("five", "5")
	var third time.Time
	b.check(b.record("five").Logs(t.Context(), box.LogOptions{Last: -1}, func(e box.Entry) error {
		if e.Text == "3\n" {
			third = e.Time
		}
		return nil
	}))
	at := third.Format(time.RFC3339Nano)
	check := func(want string, args ...string) {
		t.Helper()
		if got := strings.ReplaceAll(b.must(append(append([]string{"logs"}, args...), "five")...), "\n", " "); got != want {
			t.Errorf("logs %q: %q, want %q", args, got, want)
		}
	}
	check("1 2 3 4 5")
	check("1 2 3 4 5", "--tail", "all")
	check("1 2 3 4 5", "--tail", "-1")
	check("1 2 3 4 5", "-n", "99")
	check("4 5", "-n", "2")
	check("", "-n", "0")
	check("3 4 5", "--since", at)
	check("1 2 3", "--until", at)
	check("3", "--since", at, "--until", at)
	check("1 2 3 4 5", "--since", "1h", "--until", "0s")
	check("1 2 3 4 5", "-f", "--until", time.Now().Add(300*time.Millisecond).Format(time.RFC3339Nano)) // it ends, though the container does not

	follow := b.command("logs", "-f", "--tail", "1", "five")
	out, err := follow.StdoutPipe()
	b.check(err)
	b.check(follow.Start())
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "5\n" {
		t.Errorf("the last line: %q, %v", line, err)
	}
	b.must("exec", "five", "touch", "/tmp/on")
	if line, err := lines.ReadString('\n'); line != "6\n" {
		t.Errorf("one more: %q, %v", line, err)
	}
	if err := follow.Wait(); err != nil {
		t.Error(err)
	}
	check("6", "-f", "--tail", "1")
	b.must("rm", "five")
	b.empty()
}

// TestWaitSeveral waits for containers that are gone when it is their turn, and for one that never was.
func TestWaitSeveral(t *testing.T) {
	b := newBench(t)
	script := func(name, status string) []string {
		return []string{"sh", "-c", "until [ -e /go/" + name + " ]; do sleep 0.02; done; exit " + status}
	}
	here := t.TempDir()
	b.detach([]string{"--name", "one", "-v", here + ":/go"}, script("one", "3")...)
	b.detach([]string{"--name", "two", "-v", here + ":/go", "--rm"}, script("two", "4")...)
	wait := b.command("wait", "one", "none", "two")
	var out, errs strings.Builder
	wait.Stdout, wait.Stderr = &out, &errs
	b.check(wait.Start())
	for count := 0; count < 2; time.Sleep(10 * time.Millisecond) { // it has to know of both
		links, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(wait.Process.Pid), "fd/*"))
		b.check(err)
		count = 0
		for _, link := range links {
			if path, err := os.Readlink(link); err == nil && filepath.Base(path) == "exit" {
				count++
			}
		}
	}
	two := b.record("two")
	b.check(os.WriteFile(filepath.Join(here, "two"), nil, 0o600))
	if exit, err := two.Wait(t.Context()); exit.Status != 4 || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
	b.check(os.WriteFile(filepath.Join(here, "one"), nil, 0o600))
	_ = wait.Wait() // the status is looked at
	if status := wait.ProcessState.ExitCode(); out.String() != "3\n4\n" || status != 125 || errs.String() != "tandem: no such container: none\n" {
		t.Errorf("%q, status %d, %q", out.String(), status, errs.String())
	}
	b.must("rm", "one")
	b.empty()
}
