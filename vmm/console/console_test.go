package console

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	pty "github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// openPTY gives a pseudo-terminal: what the person holds, and what the program
// sees.
func openPTY(t *testing.T) (person pty.Console, program *os.File) {
	t.Helper()
	person, path, err := pty.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	program, err = os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func isRaw(t *testing.T, terminal *os.File) bool {
	t.Helper()
	attr, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

func open(t *testing.T, in, out *os.File) *Console {
	t.Helper()
	c, err := Open(in, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTerminal(t *testing.T) {
	person, program := openPTY(t)
	c := open(t, program, program)
	if !c.Terminal() || !isRaw(t, program) {
		t.Fatal("an open console's terminal is not raw")
	}
	if _, err := io.WriteString(person, "ls\x03\x01a\x01x rest"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c.Reader())
	if string(got) != "ls\x03\x01" || err != nil {
		t.Errorf("the guest reads %q, %v", got, err)
	}
	<-c.Leave()
	if _, err := io.WriteString(c.Writer(), "bye\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, err := person.Read(buf)
	if string(buf[:n]) != "bye\n" || err != nil {
		t.Errorf("the person reads %q, %v", buf[:n], err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if isRaw(t, program) {
		t.Error("a closed console's terminal is raw")
	}
}

func TestHelp(t *testing.T) {
	person, program := openPTY(t)
	c := open(t, program, program)
	if _, err := io.WriteString(person, "\x01hx"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := c.Reader().Read(buf); string(buf[:n]) != "x" || err != nil {
		t.Errorf("the guest reads %q, %v, want x", buf[:n], err)
	}
	help := make([]byte, len(helpText))
	if _, err := io.ReadFull(person, help); string(help) != helpText || err != nil {
		t.Errorf("the person reads %q, %v", help, err)
	}
}

// Close ends a Read that waits, and takes no key from who reads next.
func TestCloseEndsRead(t *testing.T) {
	person, program := openPTY(t)
	c := open(t, program, program)
	result := make(chan error)
	go func() {
		_, err := c.Reader().Read(make([]byte, 1))
		result <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != io.EOF {
		t.Errorf("Read = %v, want EOF", err)
	}
	if _, err := io.WriteString(person, "shell\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := program.Read(buf); string(buf[:n]) != "shell\n" || err != nil {
		t.Errorf("the shell reads %q, %v", buf[:n], err)
	}
}

func TestSize(t *testing.T) {
	person, program := openPTY(t)
	c := open(t, program, program)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := make(chan [2]int)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Resized(ctx, func(columns, rows int) {
			select {
			case sizes <- [2]int{columns, rows}:
			case <-ctx.Done():
			}
		})
	}()
	<-sizes
	if err := person.Resize(pty.WinSize{Width: 101, Height: 33}); err != nil {
		t.Fatal(err)
	}
	// The terminal is not this process' own, which would get the signal.
	if err := unix.Kill(unix.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	if got := <-sizes; got != [2]int{101, 33} {
		t.Errorf("size = %v, want 101, 33", got)
	}
	cancel()
	<-ended
}

func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := open(t, r, os.Stderr)
	if columns, rows := c.Size(); c.Terminal() || columns != 0 || rows != 0 {
		t.Errorf("a pipe is a terminal of %d by %d", columns, rows)
	}
	const text = "echo \x01x\n"
	go func() {
		io.WriteString(w, text)
		w.Close()
	}()
	if got, err := io.ReadAll(c.Reader()); string(got) != text || err != nil {
		t.Errorf("the guest reads %q, %v, want %q", got, err, text)
	}
}

// endingVariable tells a copy of the test's process to open a console on its
// standard input and to end in this way.
const endingVariable = "TANDEM_CONSOLE_TEST_ENDING"

func openAndEnd(ending string) {
	if _, err := Open(os.Stdin, os.Stdin); err != nil {
		panic(err)
	}
	os.Stdout.WriteString("open\n")
	if ending == "panic" {
		go panic("on another goroutine than main")
	}
	select {}
}

// However a process ends, its terminal is given back.
func TestRestoredByGuardian(t *testing.T) {
	for _, ending := range []string{"panic", "kill"} {
		t.Run(ending, func(t *testing.T) {
			person, program := openPTY(t)
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), endingVariable+"="+ending)
			cmd.Stdin = program
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("open\n"))); err != nil {
				t.Fatal(err)
			}
			if ending == "kill" {
				if !isRaw(t, program) {
					t.Error("the terminal is not raw")
				}
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) {
				t.Errorf("the process ended with %v", err)
			}
			waitCooked(t, person, program)
		})
	}
}

// waitCooked waits until the terminal works in lines again: the guardian is a
// process of its own, and there is nothing else to wait for.
func waitCooked(t *testing.T, person pty.Console, program *os.File) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for isRaw(t, program) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal was not restored")
		}
		time.Sleep(time.Millisecond)
	}
	// It echoes again.
	if _, err := io.WriteString(person, "x"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := person.Read(buf); !strings.Contains(string(buf[:n]), "x") || err != nil {
		t.Errorf("echo = %q, %v", buf[:n], err)
	}
}
