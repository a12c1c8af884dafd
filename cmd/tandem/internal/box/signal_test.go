package box_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// startForeground starts a container in the foreground, and waits for its first line.
func (b *bench) startForeground(flags []string, script string) (*exec.Cmd, *bufio.Reader) {
	b.t.Helper()
	cmd := b.command(b.arguments(append(flags, "--rm"), []string{"sh", "-c", script})...)
	out, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "up\n" {
		b.t.Fatalf("the container says %q, %v", line, err)
	}
	return cmd, lines
}

func TestSignals(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name, script string
		signals      []os.Signal
		want         int
	}{
		{"it has a handler", `trap "exit 9" INT; echo up; while :; do sleep 0.05; done`, []os.Signal{unix.SIGINT}, 9},
		{"it has one for another", `trap "exit 8" USR1; echo up; while :; do sleep 0.05; done`, []os.Signal{unix.SIGUSR1}, 8},
		{"it ignores them, and the second kills", `trap "" INT TERM; echo up; exec sleep 1000`, []os.Signal{unix.SIGINT, unix.SIGTERM}, 137},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, _ := b.startForeground(nil, test.script)
			for _, s := range test.signals {
				b.check(cmd.Process.Signal(s))
			}
			_ = cmd.Wait() // the status is looked at
			if got := cmd.ProcessState.ExitCode(); got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
	b.empty()
}

// TestStopTimeout kills what does not heed its stop signal.
func TestStopTimeout(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "deaf", "--stop-signal", "HUP"}, "sh", "-c", `trap "echo heard" HUP; echo up; while :; do sleep 0.05; done`)
	b.await("deaf", "up")
	b.must("stop", "-t", "3", "deaf") // long enough for its shell to come to it
	if got := b.must("wait", "deaf") + b.must("logs", "deaf"); got != "137up\nheard" {
		t.Errorf("status and log %q, want 137, up, heard", got)
	}
	b.must("rm", "deaf")
	b.empty()
}

// onTerminal runs a command on a terminal of 40 rows and 100 columns, and gives the terminal's other end.
func (b *bench) onTerminal(cmd *exec.Cmd) console.Console {
	b.t.Helper()
	master, path, err := console.NewPty()
	b.check(err)
	b.t.Cleanup(func() { master.Close() })
	b.check(master.Resize(console.WinSize{Height: 40, Width: 100}))
	slave, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	b.check(err)
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	b.check(cmd.Start())
	return master
}

// readUntil reads until a text has been shown.
func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var shown strings.Builder
	p := make([]byte, 1)
	for !strings.HasSuffix(shown.String(), text) {
		if _, err := r.Read(p); err != nil {
			t.Fatalf("the terminal ended without %q: %q, %v", text, shown.String(), err)
		}
		shown.Write(p)
	}
}

func TestTerminal(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "there"}, "sh", "-c", sleeper)
	b.await("there", "up")
	for _, args := range [][]string{
		b.arguments([]string{"--rm", "-it"}, []string{"sh"}),
		{"exec", "-it", "there", "sh"},
	} {
		cmd := b.command(args...)
		terminal := b.onTerminal(cmd)
		_, err := io.WriteString(terminal, "stty size; tty=$((6*7)); echo is $tty\n")
		b.check(err)
		readUntil(t, terminal, "40 100")
		readUntil(t, terminal, "is 42")
		b.check(terminal.Resize(console.WinSize{Height: 33, Width: 77}))
		_, err = io.WriteString(terminal, "until stty size | grep '33 77'; do sleep 0.05; done\n")
		b.check(err)
		readUntil(t, terminal, "\n33 77")
		_, err = io.WriteString(terminal, "sh -c 'echo asleep; exec sleep 1000'\n")
		b.check(err)
		readUntil(t, terminal, "\nasleep")
		_, err = io.WriteString(terminal, "\x03") // Ctrl-C is a byte here, and a signal there
		b.check(err)
		readUntil(t, terminal, "# ")
		_, err = io.WriteString(terminal, "echo status $?\n")
		b.check(err)
		readUntil(t, terminal, "status 130")
		_, err = io.WriteString(terminal, "exit 6\n")
		b.check(err)
		_ = cmd.Wait() // the status is looked at
		if got := cmd.ProcessState.ExitCode(); got != 6 {
			t.Errorf("%q: status %d, want 6", args, got)
		}
	}
	b.must("rm", "-f", "there")
	b.detach([]string{"--name", "screen", "-t"}, "sh", "-c", "[ -t 1 ] && echo terminal")
	b.must("wait", "screen")
	if got := b.must("logs", "screen"); got != "terminal\r" {
		t.Errorf("the log of a detached one with a terminal: %q", got)
	}
	b.must("rm", "screen")
	b.empty()
}
