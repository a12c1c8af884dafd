package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds what would otherwise hang for ever.
const patience = 3 * time.Minute

// link makes the two ends of a byte stream.
type link func(t *testing.T) (host, guest io.ReadWriteCloser)

// links are the sorts of streams that sessions run on.
var links = map[string]link{
	"pipe":   pipeLink,
	"socket": socketLink,
	"serial": serialLink,
}

// pipeLink has no buffer at all.
func pipeLink(*testing.T) (host, guest io.ReadWriteCloser) {
	h, g := net.Pipe()
	return h, g
}

func socketLink(t *testing.T) (host, guest io.ReadWriteCloser) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "host"), os.NewFile(uintptr(fds[1]), "guest")
}

// serve runs a server for a client and checks its end.
func serve(t *testing.T, s *Server, guest io.ReadWriteCloser) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), guest) }()
	t.Cleanup(func() {
		guest.Close()
		select {
		case err := <-served:
			if err != nil && !errors.Is(err, ErrNoClient) {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
	})
}

// connectOver gives a client of a server in this process.
func connectOver(t *testing.T, s *Server, l link) *Client {
	t.Helper()
	host, guest := l(t)
	serve(t, s, guest)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := NewClient(ctx, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func connect(t *testing.T) *Client {
	t.Helper()
	return connectOver(t, &Server{}, socketLink)
}

func TestCommand(t *testing.T) {
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{}, l)
			out, err := c.Command(t.Context(), "echo", "hello").Output()
			if err != nil || string(out) != "hello\n" {
				t.Errorf("echo hello = %q, %v", out, err)
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	c := connect(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 7"}, 7},
		{[]string{"sh", "-c", "exit 255"}, 255},
		{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9},
		{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15},
		{[]string{"no-such-command"}, 127},
		{[]string{"/no/such/file"}, 127},
		{[]string{"/etc/passwd/x"}, 127},
		{[]string{"/etc/passwd"}, 126},
		{[]string{"/etc"}, 126},
		{[]string{write("script", "exit 3", 0o755)}, 126}, // ENOEXEC
		{[]string{write("interpreter", "#!/no/such/shell\n", 0o755)}, 126},
		{[]string{write("closed", "#!/bin/sh\n", 0o644)}, 126},
		{[]string{write("open", "#!/bin/sh\nexit 9\n", 0o755)}, 9},
	} {
		err := c.Command(t.Context(), test.args[0], test.args[1:]...).Run()
		if got := ExitStatus(err); got != test.want {
			t.Errorf("%q: status %d (%v), want %d", test.args, got, err, test.want)
		}
	}
}

func TestExitErrors(t *testing.T) {
	c := connect(t)
	if err := c.Command(t.Context(), "no-such-command").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no-such-command: %v, want %v", err, exec.ErrNotFound)
	}
	if err := c.Command(t.Context(), "/etc/passwd").Run(); !errors.Is(err, ErrNotExecutable) {
		t.Errorf("/etc/passwd: %v, want %v", err, ErrNotExecutable)
	}
	var exit *ExitError
	if err := c.Command(t.Context(), "sh", "-c", "kill -9 $$").Run(); !errors.As(err, &exit) || exit.Signal != unix.SIGKILL {
		t.Errorf("kill -9: %v, want %v", err, unix.SIGKILL)
	}
	for name, change := range map[string]func(*Cmd){
		"relative dir":   func(c *Cmd) { c.Dir = "tmp" },
		"missing dir":    func(c *Cmd) { c.Dir = "/no/such" },
		"unknown user":   func(c *Cmd) { c.User = "no such user" },
		"unknown group":  func(c *Cmd) { c.User = "0:no such group" },
		"uid of nothing": func(c *Cmd) { c.User = "4294967295" },
		"bind":           func(c *Cmd) { c.Binds = []Bind{{Source: "relative", Target: "/mnt"}} },
		"limits":         func(c *Cmd) { c.Limits.Pids = 1 },
		"no program":     func(c *Cmd) { c.Args = []string{""} },
		"zero byte":      func(c *Cmd) { c.Args = []string{"echo", "\x00"} },
	} {
		cmd := c.Command(t.Context(), "true")
		change(cmd)
		if err := cmd.Run(); ExitStatus(err) != statusFailed {
			t.Errorf("%s: %v, want an error that is no status", name, err)
		} else {
			t.Log(err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	server := &Server{Env: []string{"PATH=" + os.Getenv("PATH"), "A=1", "B=2"}}
	c := connectOver(t, server, socketLink)
	for _, test := range []struct {
		env, add []string
		want     string
	}{
		{nil, nil, "1 2"},
		{nil, []string{"B=3", "B=4"}, "1 4"},
		{[]string{"B=\xff"}, nil, " \xff"}, // no UTF-8
		{[]string{}, nil, " "},
		{[]string{"A=x"}, []string{"B=y"}, "x y"},
	} {
		cmd := c.Command(t.Context(), "/bin/sh", "-c", `printf %s "$A $B"`)
		cmd.Env, cmd.AddEnv = test.env, test.add
		if out, err := cmd.Output(); err != nil || string(out) != test.want {
			t.Errorf("env %q and %q: %q, %v; want %q", test.env, test.add, out, err, test.want)
		}
	}
}

func TestUserAndDir(t *testing.T) {
	testenv.Need(t, testenv.Root)
	c := connect(t)
	cmd := c.Command(t.Context(), "sh", "-c", "id -u; id -g; id -G; pwd")
	cmd.User, cmd.Dir = "1234:4321", "/usr/bin"
	out, err := cmd.Output()
	if want := "1234\n4321\n4321\n/usr/bin\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	cmd = c.Command(t.Context(), "./true")
	cmd.Dir, cmd.User = "/bin", "nobody"
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{}, l)
			var all errgroup.Group
			for i := range 50 {
				all.Go(func() error {
					cmd := c.Command(t.Context(), "sh", "-c", fmt.Sprintf("cat; echo err %d >&2; exit %d", i, i))
					var out, errs bytes.Buffer
					cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(fmt.Sprint("in ", i)), &out, &errs
					err := cmd.Run()
					if ExitStatus(err) != i || out.String() != fmt.Sprint("in ", i) || errs.String() != fmt.Sprintf("err %d\n", i) {
						return fmt.Errorf("command %d: %q, %q, %w", i, out.String(), errs.String(), err)
					}
					return nil
				})
			}
			if err := all.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSignal(t *testing.T) {
	c := connect(t)
	started, out := newSignal()
	cmd := c.Command(t.Context(), "sh", "-c", `trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.05; done`)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started.wait(t, "ready\n")
	if err := cmd.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); ExitStatus(err) != 5 {
		t.Errorf("Wait = %v, want status 5", err)
	}
	started.wait(t, "got it\n")
	for what, err := range map[string]error{
		"signal":       cmd.Signal(syscall.SIGUSR1),
		"signal group": cmd.SignalGroup(syscall.SIGUSR1),
	} {
		if !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s after the end: %v, want %v", what, err, os.ErrProcessDone)
		}
	}
	if err := cmd.Signal(syscall.Signal(65)); err == nil {
		t.Error("signal 65: no error")
	}
}

func TestSignalGroup(t *testing.T) {
	c := connect(t)
	started, out := newSignal()
	cmd := c.Command(t.Context(), "sh", "-c", `sh -c 'trap "echo child; exit" INT; echo ready; while :; do sleep 0.05; done'; echo parent`)
	cmd.Stdout, cmd.WaitDelay = out, patience // the child may come to its word later than its parent to its end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started.wait(t, "ready\n")
	if err := cmd.SignalGroup(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); ExitStatus(err) != 128+int(syscall.SIGINT) {
		t.Errorf("Wait = %v", err)
	}
	started.wait(t, "child\n")
}

func TestContext(t *testing.T) {
	c := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	started, out := newSignal()
	cmd := c.Command(ctx, "sh", "-c", "trap '' INT TERM; sleep 1000 & echo ready; wait")
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started.wait(t, "ready\n")
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want %v", err, context.Canceled)
	}
	if err := c.Command(ctx, "true").Run(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run after the context's end = %v, want %v", err, context.Canceled)
	}
}

func TestInfoAndEnd(t *testing.T) {
	ends := make(chan Action, 1)
	c := connectOver(t, &Server{End: func(a Action) error { ends <- a; return nil }}, socketLink)
	info, err := c.Info(t.Context())
	if err != nil || info.Kernel == "" || info.CPUs < 1 || info.Memory == 0 || time.Since(info.Time).Abs() > time.Minute {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if err := c.Reboot(t.Context()); err != nil || <-ends != Reboot {
		t.Errorf("Reboot: %v", err)
	}
	if err := c.PowerOff(t.Context()); err != nil || <-ends != PowerOff {
		t.Errorf("PowerOff: %v", err)
	}
	if err := c.DropCaches(t.Context(), 4); err == nil {
		t.Error("DropCaches(4): no error")
	}
	// The test's agent has no StepClock: it runs on the tester's own machine.
	if err := c.StepClock(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), "may not change the clock") {
		t.Errorf("StepClock = %v, want it refused", err)
	}
	if err := connect(t).PowerOff(t.Context()); err == nil {
		t.Error("PowerOff of an agent that is no machine's: no error")
	}
}

func TestClosedClient(t *testing.T) {
	c := connect(t)
	cmd := c.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := cmd.Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait = %v, want %v", err, ErrClosed)
	}
	if err := c.Command(t.Context(), "true").Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("Run = %v, want %v", err, ErrClosed)
	}
	if _, err := c.Info(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Info = %v, want %v", err, ErrClosed)
	}
	select {
	case <-c.Done():
	default:
		t.Error("Done is not closed")
	}
}
