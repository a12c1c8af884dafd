package agent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBigStreams(t *testing.T) {
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{}, l)
			sent := make([]byte, 3<<20+17)
			rand.Read(sent)
			var out, errs bytes.Buffer
			cmd := c.Command(t.Context(), "tee", "/dev/stderr")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(sent), &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), sent) || !bytes.Equal(errs.Bytes(), sent) {
				t.Errorf("%d and %d bytes came back of %d, or others", out.Len(), errs.Len(), len(sent))
			}
		})
	}
}

func TestCombinedOutput(t *testing.T) {
	c := connect(t)
	out, err := c.Command(t.Context(), "sh", "-c", "for i in 1 2 3; do echo out; echo err >&2; done").CombinedOutput()
	if want := strings.Repeat("out\nerr\n", 3); err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestUnwantedStreams(t *testing.T) {
	c := connect(t)
	// Each is /dev/null: writing works and reading is at its end.
	if err := c.Command(t.Context(), "sh", "-c", "echo out && echo err >&2 && ! read x").Run(); err != nil {
		t.Error(err)
	}
}

// TestHalfClose reads on after the end of its input, for longer than what lies in buffers.
func TestHalfClose(t *testing.T) {
	c := connect(t)
	cmd := c.Command(t.Context(), "sh", "-c", "cat; dd if=/dev/zero bs=65536 count=32 2>/dev/null; echo end")
	cmd.Stdin = strings.NewReader("begin")
	out, err := cmd.Output()
	if err != nil || len(out) != len("begin")+32<<16+len("end\n") || !bytes.HasSuffix(out, []byte("end\n")) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

// TestStdinNotRead has a command end before its input does.
func TestStdinNotRead(t *testing.T) {
	c := connect(t)
	read, write := io.Pipe() // never ends
	defer write.Close()
	cmd := c.Command(t.Context(), "true")
	cmd.Stdin = read
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	cmd = c.Command(t.Context(), "head", "-c", "5")
	cmd.Stdin = endless{}
	if out, err := cmd.Output(); err != nil || string(out) != "xxxxx" {
		t.Errorf("head = %q, %v", out, err)
	}
}

// endless is a reader without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestSlowReader has one command's output stand still: others go on, and the command waits instead of filling memory.
func TestSlowReader(t *testing.T) {
	c := connect(t)
	gate, taken := make(chan struct{}), new(atomic.Int64)
	cmd := c.Command(t.Context(), "sh", "-c", "head -c 8388608 /dev/zero; echo end")
	cmd.Stdout = writerFunc(func(b []byte) (int, error) {
		<-gate
		taken.Add(int64(len(b)))
		return len(b), nil
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if out, err := c.Command(t.Context(), "echo", "beside").Output(); err != nil || string(out) != "beside\n" {
			t.Fatalf("beside: %q, %v", out, err)
		}
	}
	select {
	case err := <-cmd.ended:
		t.Fatalf("ended without a reader: %v", err)
	default:
	}
	close(gate)
	if err := cmd.Wait(); err != nil || taken.Load() != 8<<20+4 {
		t.Errorf("Wait = %v after %d bytes", err, taken.Load())
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestReaderGone has the client's writer fail: the command gets SIGPIPE, as in a pipeline.
func TestReaderGone(t *testing.T) {
	c := connect(t)
	full := errors.New("full")
	cmd := c.Command(t.Context(), "yes")
	cmd.Stdout = writerFunc(func([]byte) (int, error) { return 0, full })
	if err := cmd.Run(); ExitStatus(err) != 128+13 {
		t.Errorf("Run = %v, want SIGPIPE", err)
	}
	cmd = c.Command(t.Context(), "echo", "x")
	cmd.Stdout = writerFunc(func([]byte) (int, error) { return 0, full })
	if err := cmd.Run(); !errors.Is(err, full) {
		t.Errorf("Run = %v, want %v", err, full)
	}
}

// TestNoByteLost has commands end at once after they have written.
func TestNoByteLost(t *testing.T) {
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{}, l)
			for _, tty := range []bool{false, true} {
				for range 20 {
					cmd := c.Command(t.Context(), "sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x; kill -9 $$")
					cmd.TTY = tty
					out, err := cmd.Output()
					if ExitStatus(err) != 128+9 || len(out) != 60000 {
						t.Fatalf("tty %v: %d bytes, %v", tty, len(out), err)
					}
				}
			}
		})
	}
}

// TestBackground leaves processes that hold the output open.
func TestBackground(t *testing.T) {
	c := connect(t)
	t.Run("held for ever", func(t *testing.T) {
		cmd := c.Command(t.Context(), "sh", "-c", "sleep 1000 & echo mine")
		cmd.WaitDelay = -1
		if out, err := cmd.Output(); err != nil || string(out) != "mine\n" {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("written in time", func(t *testing.T) {
		cmd := c.Command(t.Context(), "sh", "-c", "(sleep 0.3; echo late) & echo mine")
		cmd.WaitDelay = patience
		start := time.Now()
		if out, err := cmd.Output(); err != nil || string(out) != "mine\nlate\n" || time.Since(start) > patience/2 {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("all of the command's own", func(t *testing.T) {
		// The pipe is full when the command ends, and stays open.
		cmd := c.Command(t.Context(), "sh", "-c", "sleep 1000 & head -c 500000 /dev/zero")
		cmd.WaitDelay = -1
		cmd.Stdout = nil
		if out, err := cmd.Output(); err != nil || len(out) != 500000 {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
	t.Run("endless writer", func(t *testing.T) {
		cmd := c.Command(t.Context(), "sh", "-c", "yes & echo mine")
		cmd.WaitDelay = time.Millisecond
		if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("mine\n")) {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
}

func TestTerminal(t *testing.T) {
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{}, l)
			cmd := c.Command(t.Context(), "sh", "-c", `stty size; tty; read x; echo "got $x"; cat`)
			cmd.TTY, cmd.Rows, cmd.Cols = true, 33, 77
			out, stdout := newSignal()
			cmd.Stdin, cmd.Stdout = strings.NewReader("abc\nunfinished"), stdout
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"33 77\r\n", "/dev/pts/", "got abc\r\n", "unfinished"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in %q", want, out.String())
				}
			}
		})
	}
}

func TestTerminalKeysAndSize(t *testing.T) {
	c := connect(t)
	keys, typed := io.Pipe()
	defer typed.Close()
	out, stdout := newSignal()
	cmd := c.Command(t.Context(), "sh", "-c", `trap 'stty size' WINCH; trap 'echo int; exit 4' INT; echo ready; while :; do sleep 0.05; done`)
	cmd.TTY, cmd.Stdin, cmd.Stdout = true, keys, stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "ready")
	if err := cmd.Resize(12, 34); err != nil {
		t.Error(err)
	}
	out.wait(t, "12 34")
	if _, err := typed.Write([]byte{3}); err != nil { // ctrl-C
		t.Fatal(err)
	}
	if err := cmd.Wait(); ExitStatus(err) != 4 {
		t.Errorf("Wait = %v, want status 4", err)
	}
	out.wait(t, "int")
}

// TestTerminalClosedForAMoment has a program close its terminal and open it anew.
func TestTerminalClosedForAMoment(t *testing.T) {
	c := connect(t)
	cmd := c.Command(t.Context(), "sh", "-c", "echo before; exec 0<&- 1>&- 2>&-; sleep 0.2; exec >/dev/tty; echo after")
	cmd.TTY = true
	out, err := cmd.Output()
	if want := "before\r\nafter\r\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestTerminalGroupSignal(t *testing.T) {
	c := connect(t)
	out, stdout := newSignal()
	// The shell has job control: its child is a foreground group of its own.
	cmd := c.Command(t.Context(), "sh", "-c", `set -m; sh -c 'trap "echo child; exit 6" TERM; echo ready; while :; do sleep 0.05; done'; echo "child's $?"; exit 8`)
	cmd.TTY, cmd.Stdout = true, stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "ready")
	if err := cmd.SignalGroup(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); ExitStatus(err) != 8 {
		t.Errorf("Wait = %v, want status 8", err)
	}
	out.wait(t, "child's 6")
}

func TestWrongUse(t *testing.T) {
	c := connect(t)
	cmd := c.Command(t.Context(), "true")
	if err := cmd.Wait(); err == nil {
		t.Error("Wait before Start: no error")
	}
	if err := cmd.Signal(unix.SIGTERM); err == nil {
		t.Error("Signal before Start: no error")
	}
	if err := cmd.Resize(1, 1); err == nil {
		t.Error("Resize before Start: no error")
	}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if err := cmd.Start(); err == nil {
		t.Error("a second Start: no error")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a second Wait: no error")
	}
	if err := (&Cmd{Args: []string{"true"}}).Start(); err == nil {
		t.Error("Start without a client: no error")
	}
	cmd = c.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Resize(1, 1); err == nil {
		t.Error("Resize without a terminal: no error")
	}
	if err := cmd.SignalGroup(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); ExitStatus(err) != 128+9 {
		t.Errorf("Wait = %v", err)
	}
}
