package box_test

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
)

// TestAttachTerminal is at the terminal of a detached container, leaves it, and comes back.
func TestAttachTerminal(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "shell", "-it"}, "sh")
	first := b.command("attach", "shell")
	terminal := b.onTerminal(first)
	_, err := io.WriteString(terminal, "stty size; tty=$((6*7)); echo is $tty\n")
	b.check(err)
	readUntil(t, terminal, "40 100")
	readUntil(t, terminal, "is 42")
	b.check(terminal.Resize(console.WinSize{Height: 33, Width: 77}))
	_, err = io.WriteString(terminal, "until stty size | grep '33 77'; do sleep 0.05; done\n")
	b.check(err)
	readUntil(t, terminal, "\n33 77")
	_, err = io.WriteString(terminal, "\x10\x11")
	b.check(err)
	if err := first.Wait(); err != nil {
		t.Errorf("left by the keys: %v", err)
	}
	second := b.command("attach", "--detach-keys", "ctrl-x,q", "shell")
	terminal = b.onTerminal(second)
	_, err = io.WriteString(terminal, "echo back; echo again\n")
	b.check(err)
	readUntil(t, terminal, "\nagain")
	watcher := b.command("attach", "--no-stdin", "shell") // both see it
	out, err := watcher.StdoutPipe()
	b.check(err)
	b.check(watcher.Start())
	shown := bufio.NewReader(out)
	for { // he may come too late for the first
		_, err = io.WriteString(terminal, "echo for both\n")
		b.check(err)
		readUntil(t, terminal, "\nfor both")
		if strings.Count(b.must("events", "--since", "1h", "--until", "0s", "--filter", "event=attach"), "\n") == 2 {
			break
		}
	}
	_, err = io.WriteString(terminal, "echo last; exit 6\n")
	b.check(err)
	text, err := io.ReadAll(shown)
	b.check(err)
	if !strings.Contains(string(text), "last\r\n") {
		t.Errorf("the second one saw %q", text)
	}
	_, _ = second.Wait(), watcher.Wait() // the statuses are looked at
	if one, two := second.ProcessState.ExitCode(), watcher.ProcessState.ExitCode(); one != 6 || two != 6 {
		t.Errorf("statuses %d and %d, want 6", one, two)
	}
	if got := b.must("logs", "shell"); !strings.Contains(got, "is 42") {
		t.Errorf("the log: %q", got)
	}
	b.must("rm", "shell")
	b.empty()
}

func TestAttachPipes(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "pipes", "-i"}, "sh", "-c", `trap "echo got it >&2; exit 5" TERM; while read x; do echo "<$x>"; done`)
	cmd := b.command("attach", "pipes")
	in, err := cmd.StdinPipe()
	b.check(err)
	out, err := cmd.StdoutPipe()
	b.check(err)
	var errs strings.Builder
	cmd.Stderr = &errs
	b.check(cmd.Start())
	_, err = io.WriteString(in, "typed\n")
	b.check(err)
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "<typed>\n" {
		t.Errorf("%q, %v", line, err)
	}
	b.check(cmd.Process.Signal(unix.SIGTERM)) // is passed on
	_ = cmd.Wait()                            // the status is looked at
	if got := cmd.ProcessState.ExitCode(); got != 5 || errs.String() != "got it\n" {
		t.Errorf("status %d, %q", got, errs.String())
	}
	if got := b.tandem("attach", "pipes"); got.status != 125 || !strings.Contains(got.stderr, "not running") {
		t.Errorf("attach to what has ended: %+v", got)
	}
	b.must("start", "pipes")
	alone := b.command("attach", "--sig-proxy=false", "pipes")
	in, err = alone.StdinPipe()
	b.check(err)
	out, err = alone.StdoutPipe()
	b.check(err)
	b.check(alone.Start())
	_, err = io.WriteString(in, "more\n")
	b.check(err)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "<more>\n" {
		t.Errorf("%q, %v", line, err)
	}
	b.check(alone.Process.Signal(unix.SIGINT))
	_ = alone.Wait() // the status is looked at
	if got := alone.ProcessState.ExitCode(); got != 130 || b.record("pipes").Status() != box.Running {
		t.Errorf("status %d, and it is %s", got, b.record("pipes").Status())
	}
	b.must("rm", "-f", "pipes")
	cmd, _ = b.startForeground([]string{"--name", "front"}, "echo up; exec sleep 1000")
	if got := b.tandem("attach", "front"); got.status != 125 || !strings.Contains(got.stderr, "foreground") {
		t.Errorf("attach to one in the foreground: %+v", got)
	}
	b.must("kill", "front")
	_ = cmd.Wait() // it was killed
	b.empty()
}

// TestExecLeave leaves a command of exec's by its keys: it runs on, with its terminal.
func TestExecLeave(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "there"}, "sleep", "1000")
	for _, test := range []struct {
		keys  string
		flags []string
	}{
		{"\x10\x11", nil},
		{"\x18q", []string{"--detach-keys", "ctrl-x,q"}},
	} {
		// It writes more than a terminal holds, so that it comes to its end only if somebody reads on.
		script := `echo up; until [ -e /tmp/left ]; do sleep 0.05; done; dd if=/dev/zero bs=1000 count=300; stty size >/tmp/done; mv /tmp/done /tmp/size`
		cmd := b.command(append(append([]string{"exec", "-it"}, test.flags...), "there", "sh", "-c", script)...)
		terminal := b.onTerminal(cmd)
		readUntil(t, terminal, "up")
		_, err := io.WriteString(terminal, test.keys)
		b.check(err)
		if err := cmd.Wait(); err != nil {
			t.Errorf("left by %q: %v", test.keys, err)
		}
		b.must("exec", "there", "touch", "/tmp/left")
		if got := b.must("exec", "there", "sh", "-c", "until [ -e /tmp/size ]; do sleep 0.05; done; cat /tmp/size; rm /tmp/size /tmp/left"); got != "40 100" {
			t.Errorf("the terminal that was left: %q", got)
		}
	}
	if got := b.must("events", "--since", "1h", "--until", "0s", "-f", "event=exec_detach", "--format", "{{.Action}}"); got != "exec_detach\nexec_detach" {
		t.Errorf("events: %q", got)
	}
	if got := b.tandem("exec", "--detach-keys", "ctrl-", "there", "true"); got.status != 125 || !strings.Contains(got.stderr, "--detach-keys") {
		t.Errorf("bad keys: %+v", got)
	}
	// The window is closed.
	cmd := b.command("exec", "-it", "there", "sh", "-c", "trap 'echo hung up >/tmp/hup' HUP; echo up; until [ -e /tmp/left ]; do sleep 0.05; done; touch /tmp/end; exec sleep 1000")
	terminal := b.onTerminal(cmd)
	readUntil(t, terminal, "up")
	b.check(terminal.Close())
	_ = cmd.Wait() // the status is looked at
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("status %d, want 130", got)
	}
	b.must("exec", "there", "sh", "-c", "touch /tmp/left; until [ -e /tmp/end ]; do sleep 0.05; done; [ ! -e /tmp/hup ]")
	b.must("rm", "-f", "there") // with a command in it that was left
	b.empty()
}

// TestExecDetached leaves commands to themselves: somebody waits for each, and tells of its end.
func TestExecDetached(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "there"}, "sleep", "1000")
	events := b.command("events", "--since", "1h", "-f", "event=exec_die", "--format", "{{.Actor.Attributes.exitCode}}")
	out, err := events.StdoutPipe()
	b.check(err)
	b.check(events.Start())
	lines := bufio.NewReader(out)
	for _, test := range []struct {
		flags  []string
		script string
		status string
	}{
		{[]string{"-d"}, "[ ! -t 0 ] && exit 5", "5"},
		{[]string{"-dt"}, "[ -t 0 ] && dd if=/dev/zero bs=1000 count=300 && exit 6", "6"},
		{[]string{"-dit"}, "[ -t 1 ] && exit 7", "7"},
		{[]string{"-di", "-e", "A=8", "-w", "/tmp"}, "[ $PWD = /tmp ] && ! read x && exit $A", "8"},
		{[]string{"-d"}, "kill -9 $$", "137"},
	} {
		b.must(append(append([]string{"exec"}, test.flags...), "there", "sh", "-c", test.script)...)
		if got, err := lines.ReadString('\n'); got != test.status+"\n" {
			t.Errorf("exec %q: status %q, %v, want %s", test.flags, got, err, test.status)
		}
	}
	b.check(events.Process.Signal(unix.SIGINT))
	_ = events.Wait() // it was interrupted
	if got := b.tandem("exec", "-d", "there", "no-such-thing"); got.status != 127 || got.stdout != "" || !strings.Contains(got.stderr, "command not found in the container") {
		t.Errorf("a command that is not there: %+v", got)
	}
	b.must("exec", "-d", "there", "sleep", "1000")
	b.must("rm", "-f", "there") // with a command in it
	b.empty()
}

// TestStartInput has a made container read what is piped to it, to its end, each time that it is started.
func TestStartInput(t *testing.T) {
	b := newBench(t)
	b.must(append([]string{"create", "-i", "--name", "reads", "--net", "none", "--rootfs", b.root, "--"}, "sh", "-c", "wc -c; exit 3")...)
	for _, text := range []string{"twelve bytes", strings.Repeat("x", 200_000), ""} {
		cmd := b.command("start", "-ai", "reads")
		cmd.Stdin = strings.NewReader(text)
		if got := b.finish(cmd); got.status != 3 || got.stdout != strconv.Itoa(len(text))+"\n" {
			t.Errorf("%d bytes: %+v", len(text), got)
		}
	}
	b.must("rm", "reads")

	// What is started detached goes on to read, for who comes next.
	b.detach([]string{"-i", "--name", "goes-on"}, "sh", "-c", "read x; read y; echo $x $y")
	first := b.command("attach", "goes-on")
	first.Stdin = strings.NewReader("one\n")
	out, err := first.StdoutPipe()
	b.check(err)
	b.check(first.Start())
	second := b.command("attach", "goes-on")
	second.Stdin = strings.NewReader("two\n")
	if got := b.finish(second); got.status != 0 {
		t.Errorf("%+v", got)
	}
	text, err := io.ReadAll(out)
	b.check(err)
	if _ = first.Wait(); string(text) != "one two\n" && string(text) != "two one\n" {
		t.Errorf("it read %q", text)
	}
	b.must("rm", "goes-on")
	b.empty()
}

// TestRunSession leaves a container in the foreground by its keys, and comes back; another one it sees to its end.
func TestRunSession(t *testing.T) {
	b := newBench(t)
	first := b.command(b.arguments([]string{"--name", "shell", "--rm", "-it", "--detach-keys", "ctrl-x,q"}, []string{"sh"})...)
	terminal := b.onTerminal(first)
	_, err := io.WriteString(terminal, "stty size; tty=$((6*7)); echo is $tty\n")
	b.check(err)
	readUntil(t, terminal, "40 100")
	readUntil(t, terminal, "is 42")
	_, err = io.WriteString(terminal, "\x18q")
	b.check(err)
	if err := first.Wait(); err != nil {
		t.Errorf("left by the keys: %v", err)
	}
	if r := b.record("shell"); r.Status() != box.Running {
		t.Errorf("it is %s after it was left", r.Status())
	}
	second := b.command("attach", "shell")
	terminal = b.onTerminal(second)
	_, err = io.WriteString(terminal, "echo $((tty+1)); exit 6\n")
	b.check(err)
	readUntil(t, terminal, "\n43")
	_ = second.Wait() // the status is looked at
	if got := second.ProcessState.ExitCode(); got != 6 {
		t.Errorf("status %d, want 6", got)
	}
	b.empty()

	// What it writes before this process has come is seen, and the terminal's size is known from the start.
	at := b.command(b.arguments([]string{"--rm", "-it"}, []string{"sh", "-c", "stty size; exit 5"})...)
	readUntil(t, b.onTerminal(at), "40 100")
	_ = at.Wait() // the status is looked at
	if got := at.ProcessState.ExitCode(); got != 5 {
		t.Errorf("status %d, want 5", got)
	}
	// One that reads nothing can be attached to as well.
	mute := b.command(b.arguments([]string{"--name", "mute", "--rm", "-t"}, []string{"sh", "-c", "echo up; until [ -e /tmp/on ]; do sleep 0.05; done; echo on; exit 7"})...)
	muteTerminal := b.onTerminal(mute)
	readUntil(t, muteTerminal, "up")
	watcher := b.command("attach", "mute")
	shown, err := watcher.StdoutPipe()
	b.check(err)
	b.check(watcher.Start())
	for b.must("events", "--since", "1h", "--until", "0s", "-f", "event=attach", "-f", "container=mute", "--format", "{{.Action}}") != "attach\nattach" {
	}
	b.must("exec", "mute", "touch", "/tmp/on")
	text, err := io.ReadAll(shown)
	b.check(err)
	readUntil(t, muteTerminal, "on")
	_, _ = mute.Wait(), watcher.Wait() // the statuses are looked at
	if one, two := mute.ProcessState.ExitCode(), watcher.ProcessState.ExitCode(); one != 7 || two != 7 || !strings.HasSuffix(string(text), "on\r\n") {
		t.Errorf("statuses %d and %d, want 7; %q", one, two, text)
	}
	// Nobody reads what it shows any more.
	broken := b.command(b.arguments([]string{"--name", "broken", "--rm", "-t"}, []string{"sh", "-c", "while :; do echo more; sleep 0.01; done"})...)
	pipe, err := broken.StdoutPipe()
	b.check(err)
	var words strings.Builder
	broken.Stderr = &words
	b.check(broken.Start())
	readUntil(t, pipe, "more")
	b.check(pipe.Close())
	_ = broken.Wait() // the status is looked at
	if got := broken.ProcessState.ExitCode(); got != 125 || !strings.Contains(words.String(), "container broken goes on") || b.record("broken").Status() != box.Running {
		t.Errorf("status %d, %q, and it is %s", got, words.String(), b.record("broken").Status())
	}
	b.must("rm", "-f", "broken")
	none := b.command(b.arguments([]string{"--rm", "-it"}, []string{"no-such-thing"})...)
	readUntil(t, b.onTerminal(none), "command not found in the container")
	_ = none.Wait() // the status is looked at
	if got := none.ProcessState.ExitCode(); got != 127 {
		t.Errorf("a command that is not there: status %d, want 127", got)
	}
	b.empty()
}

// TestRunSessionSignals sends signals to tandem at a container's terminal: they are passed on, and the second one kills.
func TestRunSessionSignals(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		script string
		status int
	}{
		{`trap "echo got it; exit 5" TERM; echo up; while :; do sleep 0.05; done`, 5},
		{`trap "echo got it" TERM; echo up; while :; do sleep 0.05; done`, 128 + 9},
	} {
		cmd := b.command(b.arguments([]string{"--rm", "-it"}, []string{"sh", "-c", test.script})...)
		terminal := b.onTerminal(cmd)
		readUntil(t, terminal, "up")
		b.check(cmd.Process.Signal(unix.SIGTERM))
		readUntil(t, terminal, "got it")
		if test.status > 128 {
			b.check(cmd.Process.Signal(unix.SIGTERM))
		}
		_ = cmd.Wait() // the status is looked at
		if got := cmd.ProcessState.ExitCode(); got != test.status {
			t.Errorf("%s: status %d, want %d", test.script, got, test.status)
		}
	}
	if got := b.tandem(b.arguments([]string{"--detach-keys", "ctrl-"}, []string{"true"})...); got.status != 125 || !strings.Contains(got.stderr, "--detach-keys") {
		t.Errorf("bad keys: %+v", got)
	}
	b.empty()
}

// TestRunSessionHangup closes the terminal's window: the container goes on, and tandem does not.
func TestRunSessionHangup(t *testing.T) {
	b := newBench(t)
	cmd := b.command(b.arguments([]string{"--name", "left", "--rm", "-it"}, []string{"sh", "-c", "trap 'echo hung up' HUP; echo up; while :; do sleep 0.05; done"})...)
	terminal := b.onTerminal(cmd)
	readUntil(t, terminal, "up")
	b.check(terminal.Close())
	_ = cmd.Wait() // the status is looked at
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("status %d, want 130", got)
	}
	if s := b.record("left").Status(); s != box.Running {
		t.Errorf("it is %s", s)
	}
	if got := b.must("logs", "left"); got != "up\r" {
		t.Errorf("the log: %q", got)
	}
	b.must("rm", "-f", "left")
	b.empty()
}
