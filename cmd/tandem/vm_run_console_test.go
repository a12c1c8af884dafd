package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/console"
)

// screen is what a terminal shows, and can be waited for.
type screen struct {
	mu    sync.Mutex
	grown sync.Cond
	text  []byte
	ended bool
}

func watch(r io.Reader) *screen {
	s := &screen{}
	s.grown.L = &s.mu
	go func() {
		p := make([]byte, 4096)
		for {
			n, err := r.Read(p)
			s.mu.Lock()
			s.text = append(s.text, p[:n]...)
			s.ended = err != nil
			s.mu.Unlock()
			s.grown.Broadcast()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// await waits until the text is on the screen, behind what was awaited before.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !bytes.Contains(s.text, []byte(text)) {
		if s.ended {
			t.Fatalf("the terminal ended without %q: %q", text, s.text)
		}
		s.grown.Wait()
	}
	_, s.text, _ = bytes.Cut(s.text, []byte(text))
}

// startOnTerminal starts a command on a terminal of its own, of 40 rows and 100 columns.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) (keys io.Writer, s *screen) {
	t.Helper()
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := master.Resize(console.WinSize{Height: 40, Width: 100}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return master, watch(master)
}

func typeKeys(t *testing.T, terminal io.Writer, keys string) {
	t.Helper()
	if _, err := io.WriteString(terminal, keys); err != nil {
		t.Fatal(err)
	}
}

// TestVMRunShell has a person at the guest's console: a shell that knows the terminal's size, help, and the way out.
func TestVMRunShell(t *testing.T) {
	needGuests(t)
	cmd := vmRunCommand(t, "--accel", "kvm")
	terminal, shown := startOnTerminal(t, cmd)
	shown.await(t, "# ")
	typeKeys(t, terminal, "stty size; echo $((6 * 7)) of $(hostname)\r")
	shown.await(t, "40 100")
	shown.await(t, "42 of tandem")
	typeKeys(t, terminal, "\x01h")
	shown.await(t, "Ctrl-a x")
	typeKeys(t, terminal, "\x01x")
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("after Ctrl-a x the status is %d, want 130", status)
	}
}

// TestVMRunTTY has a command at a terminal in the guest, which ends by a key that the terminal makes a signal of.
func TestVMRunTTY(t *testing.T) {
	needGuests(t)
	cmd := vmRunCommand(t, "--accel", "kvm", "--tty", "--", "sh", "-c", "tty; stty size; exec sleep 1000")
	terminal, shown := startOnTerminal(t, cmd)
	shown.await(t, "/dev/pts/")
	shown.await(t, "40 100")
	typeKeys(t, terminal, "\x03")
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("after Ctrl-c the status is %d, want 130, sleep's", status)
	}
	if strings.Contains(string(shown.text), "tandem:") {
		t.Errorf("tandem has something to say about it: %q", shown.text)
	}
}
