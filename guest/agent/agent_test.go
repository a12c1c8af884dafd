package agent

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// connect gives a client of a server in this process.
func connect(t *testing.T, s *Server) *Client {
	t.Helper()
	host, guest := net.Pipe()
	return connectOver(t, s, host, guest)
}

func connectOver(t *testing.T, s *Server, host, guest net.Conn) *Client {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), guest) }()
	c, err := NewClient(context.Background(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c
}

func TestCommand(t *testing.T) {
	c := connect(t, &Server{})
	out, err := c.Command(t.Context(), "echo", "hello").Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("echo hello = %q, %v", out, err)
	}
}

func TestExitStatus(t *testing.T) {
	c := connect(t, &Server{})
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 7"}, 7},
		{[]string{"sh", "-c", "exit 255"}, 255},
		{[]string{"sh", "-c", "kill -9 $$"}, 137},
		{[]string{"sh", "-c", "kill -TERM $$"}, 143},
		{[]string{"no-such-command"}, 127},
		{[]string{"/no/such/file"}, 127},
		{[]string{"/etc/passwd"}, 126},
		{[]string{"/etc"}, 126},
		{[]string{"/etc/passwd/x"}, 127},
	} {
		err := c.Command(t.Context(), test.args[0], test.args[1:]...).Run()
		if got := ExitStatus(err); got != test.want {
			t.Errorf("%q: status %d (%v), want %d", test.args, got, err, test.want)
		}
	}
	err := c.Command(t.Context(), "no-such-command").Run()
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no-such-command: %v, want %v", err, exec.ErrNotFound)
	}
}

func TestStreams(t *testing.T) {
	c := connect(t, &Server{})
	big := strings.Repeat("0123456789abcdef", 1<<16)
	var out, errs bytes.Buffer
	cmd := c.Command(t.Context(), "sh", "-c", "tee /dev/stderr")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(big), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if out.String() != big || errs.String() != big {
		t.Errorf("got %d and %d bytes, want %d", out.Len(), errs.Len(), len(big))
	}
}

func TestTerminal(t *testing.T) {
	c := connect(t, &Server{})
	var out bytes.Buffer
	cmd := c.Command(t.Context(), "sh", "-c", "stty size; tty; read x; echo got $x; cat")
	cmd.TTY, cmd.Rows, cmd.Cols = true, 33, 77
	cmd.Stdin, cmd.Stdout = strings.NewReader("abc\nlast"), &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%q", out.String())
}
