package box_test

import (
	"io"
	"strings"
	"testing"
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
