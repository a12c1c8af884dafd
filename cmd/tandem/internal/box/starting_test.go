package box_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/lock"
	"tandem/internal/testenv"
)

// TestEndedWhileStarting asks containers to end that are just being started: they do, and who asked does not wait for ever.
func TestEndedWhileStarting(t *testing.T) {
	b := newBench(t)
	for _, verb := range [][]string{{"stop", "slow"}, {"stop", "-t", "0", "slow"}, {"rm", "-f", "slow"}} {
		id := b.must(append([]string{"create", "--name", "slow", "--net", "none", "--rootfs", b.root, "--"}, "sleep", "1000")...)
		unlock, err := lock.File(filepath.Join(b.home.Run, "boxes", id, "layer.lock")) // it comes to nothing before that is given back
		b.check(err)
		start := b.command("start", "slow")
		b.check(start.Start())
		for !strings.Contains(commandLine(b.record("slow").Keeper.PID), box.KeeperVerb) {
		}
		ask := b.command(verb...)
		b.check(ask.Start())
		for !waitsFor(t, ask.Process.Pid) && !hasOpen(t, ask.Process.Pid, "begin.lock") {
		}
		unlock()
		if err := ask.Wait(); err != nil {
			t.Errorf("%q: %v", verb, err)
		}
		_ = start.Wait() // it was started, or not
		if verb[0] == "stop" {
			if s := b.record("slow").Status(); s != box.Exited {
				t.Errorf("after %q it is %s", verb, s)
			}
			b.must("rm", "-f", "slow")
		}
	}
	b.empty()
}

// TestEndedBeforeTheStart asks one to end that its keeper has not come to start yet: it waits for the image's layers.
func TestEndedBeforeTheStart(t *testing.T) {
	b := newBench(t)
	b.importRoot("early:1")
	for _, flags := range [][]string{{"-d"}, nil} {
		unlock, err := lock.File(filepath.Join(b.home.Data, "images/locks/content"))
		b.check(err)
		run := b.command(append(append([]string{"run", "--name", "early", "--net", "none"}, flags...), "early:1", "sleep", "1000")...)
		b.check(run.Start())
		for {
			if _, err := b.home.Find("early"); err == nil {
				break
			}
		}
		if got := b.tandem("rm", "-f", "early"); got.status != 0 {
			t.Errorf("rm -f: %+v", got)
		}
		unlock()
		if err := run.Wait(); err == nil {
			t.Errorf("run %q of what was removed meanwhile: no error", flags)
		}
		b.empty()
	}
}

// TestStartedWhileMade has somebody start what another makes and starts: it is started once, and runs.
func TestStartedWhileMade(t *testing.T) {
	b := newBench(t)
	b.importRoot("made:1")
	for _, flags := range [][]string{{"-d"}, nil} {
		unlock, err := lock.File(filepath.Join(b.home.Data, "images/locks/content"))
		b.check(err)
		run := b.command(append(append([]string{"run", "--name", "made", "--net", "none"}, flags...), "made:1", "sleep", "1000")...)
		b.check(run.Start())
		for {
			if _, err := b.home.Find("made"); err == nil {
				break
			}
		}
		start := b.command("start", "made")
		b.check(start.Start())
		for !waitsFor(t, start.Process.Pid) {
		}
		unlock()
		if err := start.Wait(); err != nil {
			t.Errorf("run %q, and start meanwhile: %v", flags, err)
		}
		if s := b.record("made").Status(); s != box.Running {
			t.Errorf("it is %s", s)
		}
		b.must("rm", "-f", "made")
		_ = run.Wait() // it was killed
		b.empty()
	}
}

// hasOpen tells whether a process has a file of a name open.
func hasOpen(t *testing.T, pid int, name string) bool {
	t.Helper()
	links, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd/*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(links, func(link string) bool {
		path, err := os.Readlink(link)
		return err == nil && filepath.Base(path) == name
	})
}

func commandLine(pid int) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return string(text)
}

// TestRemovedWhileStarting has somebody remove what he has found ended, and what another has started since.
func TestRemovedWhileStarting(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "again"}, "sh", "-c", "[ -e /tmp/x ] && exit 3; exec sleep 1000")
	b.must("stop", "-t", "0", "again")
	ended := b.record("again")
	b.must("start", "again")
	if err := ended.Remove(t.Context(), false); err == nil {
		t.Error("one that runs is removed")
	}
	if got := b.tandem("exec", "again", "true"); got.status != 0 {
		t.Errorf("it does not run any more: %+v", got)
	}
	b.must("rm", "-f", "again")
	b.empty()
}

// TestUpdatedTwice has two people change different limits of one container, neither of whom knows of the other.
func TestUpdatedTwice(t *testing.T) {
	b := newBench(t)
	b.must(append([]string{"create", "--name", "two", "--net", "none", "--rootfs", b.root, "--"}, "true")...)
	one, two := b.record("two"), b.record("two")
	b.check(one.Update(t.Context(), func(l box.Limits, p box.RestartPolicy) (box.Limits, box.RestartPolicy) {
		l.Memory = 64 << 20
		return l, p
	}))
	b.check(two.Update(t.Context(), func(l box.Limits, p box.RestartPolicy) (box.Limits, box.RestartPolicy) {
		l.PidsLimit = 50
		return l, p
	}))
	if l := b.record("two").Options.Limits; l.Memory != 64<<20 || l.PidsLimit != 50 {
		t.Errorf("%+v, want both", l)
	}
	b.must("rm", "two")
	b.empty()
}

// TestKeeperUnheard has who starts a container be killed meanwhile: it is kept all the same.
func TestKeeperUnheard(t *testing.T) {
	b := newBench(t)
	id := b.must(append([]string{"create", "--name", "kept", "--net", "none", "--rootfs", b.root, "--"}, "sh", "-c", sleeper)...)
	b.check(os.MkdirAll(b.record("kept").Folder(), 0o700)) // as who starts it has done before
	r, w, err := os.Pipe()
	b.check(err)
	keeper := b.command(box.KeeperVerb, id)
	keeper.ExtraFiles = []*os.File{w}
	var words strings.Builder
	keeper.Stderr = &words
	b.check(r.Close()) // nobody hears
	b.check(keeper.Start())
	b.check(w.Close())
	ended := make(chan error, 1)
	go func() { ended <- keeper.Wait() }()
	for b.record("kept").Started.IsZero() {
		select {
		case err := <-ended:
			t.Fatalf("its keeper has ended: %v, %s", err, words.String())
		default:
		}
	}
	b.await("kept", "up")
	if got := b.must("stop", "kept") + b.must("wait", "kept"); got != "kept5" {
		t.Errorf("stop and wait: %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("its keeper: %v", err)
	}
	b.must("rm", "kept")
	b.empty()
}

// TestStartFailsWithoutANetwork has nothing be told of a network that was set up for a start that failed then.
func TestStartFailsWithoutANetwork(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	inNetNS(t, func() {
		b.must("create", "--name", "no", "-p", "8081:80", "--rootfs", b.root, "--", "no-such-thing")
		if got := b.tandem("start", "no"); got.status != 127 {
			t.Errorf("start: %+v", got)
		}
		if n := b.record("no").Network; n != nil {
			t.Errorf("it has a network: %+v", n)
		}
		if got := b.must("ps", "-a"); strings.Contains(got, "8081") {
			t.Errorf("ps: %s", got)
		}
		b.must("rm", "no")
		b.empty()
	})
}
