package box_test

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestNoTerminal has commands that were given no terminal be without one, though their user is at his.
func TestNoTerminal(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "there"}, "sleep", "1000")
	for _, test := range []struct {
		flags  []string
		script string
		want   string
	}{
		{nil, "for fd in 0 1 2; do [ -t $fd ] && echo $fd is a terminal; done; echo out; echo err >&2; echo out again; exit 5", "out\r\nerr\r\nout again\r\n"},
		{nil, "(head -n 1 <&1 || echo cannot) 2>/dev/null; (head -n 1 <&2 || echo cannot) 2>/dev/null; exit 5", "typed\r\ncannot\r\ncannot\r\n"},
		{[]string{"-i"}, "read x; echo got $x; [ -t 0 ] && echo it is a terminal; exit 5", "typed\r\ngot typed\r\n"},
		{nil, "sleep 1000 & dd if=/dev/zero bs=1000 count=100 2>/dev/null | tr '\\0' x; echo; echo last; exit 5", strings.Repeat("x", 100_000) + "\r\nlast\r\n"},
	} {
		for _, args := range [][]string{
			b.arguments(append(test.flags, "--rm"), []string{"sh", "-c", test.script}),
			append(append([]string{"exec"}, test.flags...), "there", "sh", "-c", test.script),
		} {
			cmd := b.command(args...)
			terminal := b.onTerminal(cmd)
			if strings.HasPrefix(test.want, "typed") {
				_, err := io.WriteString(terminal, "typed\n")
				b.check(err)
			}
			shown, _ := io.ReadAll(terminal) // until EIO: nobody has the other end any more
			_ = cmd.Wait()                   // the status is looked at
			if got := cmd.ProcessState.ExitCode(); got != 5 || string(shown) != test.want {
				t.Errorf("tandem %q: status %d, %.200q; want %.200q", args, got, shown, test.want)
			}
		}
	}
	b.must("rm", "-f", "there")
	b.empty()
}

// TestSlowTerminal has what a command wrote last be seen, though whoever reads it takes his time.
func TestSlowTerminal(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "there"}, "sleep", "1000")
	// It is read only as far as the command needs to come to its end: then the pipe is full, and the rest is in its terminal.
	const long = 72_000
	script := "dd if=/dev/zero bs=1000 count=72 2>/dev/null | tr '\\0' x; echo last; exit 5"
	cmd := b.command("exec", "-t", "there", "sh", "-c", script)
	out, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	text := make([]byte, 0, long)
	for b.must("events", "--since", "1h", "--until", "0s", "-f", "event=exec_die", "--format", "{{.Action}}") != "exec_die" && len(text)+500 < long {
		_, err := io.ReadFull(out, text[len(text):len(text)+500])
		b.check(err)
		text = text[:len(text)+500]
	}
	time.Sleep(time.Second) // longer than what is left running is waited for
	rest, err := io.ReadAll(out)
	b.check(err)
	text = append(text, rest...)
	_ = cmd.Wait() // the status is looked at
	if got, want := string(text), strings.Repeat("x", long)+"last\r\n"; cmd.ProcessState.ExitCode() != 5 || got != want {
		t.Errorf("status %d, %d bytes, want %d", cmd.ProcessState.ExitCode(), len(got), len(want))
	}
	b.must("rm", "-f", "there")
	b.empty()
}
