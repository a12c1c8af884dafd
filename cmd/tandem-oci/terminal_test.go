package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/console"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestTerminal joins a user's terminal and those of commands that tandem-oci stays with.
func TestTerminal(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	if err := master.Resize(console.WinSize{Height: 33, Width: 99}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(master)
	expect := func(want string) {
		t.Helper()
		got, err := lines.ReadString('\n')
		if got = strings.TrimSpace(got); err != nil || got != want {
			t.Fatalf("the terminal shows %q, %v; want %q", got, err, want)
		}
	}
	const script = "tty; stty size; trap 'stty size' WINCH; trap 'echo int; exit 5' INT; " +
		"echo ready; while :; do sleep 0.01; done"
	o.configure(nil, "sleep", "1000")
	o.start("box")
	o.configure(func(s *specs.Spec) { s.Process.Terminal = true }, "sh", "-c", script)
	for _, args := range [][]string{
		{"run", "other"},
		{"exec", "--tty", "box", "sh", "-c", script},
	} {
		cmd := o.command(args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"/dev/pts/0", "33 99", "ready"} {
			expect(line)
		}
		if err := master.Resize(console.WinSize{Height: 20, Width: 50}); err != nil {
			t.Fatal(err)
		}
		expect("20 50")
		if _, err := master.Write([]byte{3}); err != nil { // Ctrl-C: a byte here, a signal there
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasSuffix(strings.TrimSpace(line), "int") {
			t.Errorf("after Ctrl-C the terminal shows %q, %v", line, err)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 5 {
			t.Errorf("%v: exit status %d, want 5", args, got)
		}
		after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("%v leaves the terminal as %+v, %v; it was %+v", args, after, err, before)
		}
		if err := master.Resize(console.WinSize{Height: 33, Width: 99}); err != nil {
			t.Fatal(err)
		}
	}
}

// What a command said last is printed, though there was no time to read it before.
func TestLastWords(t *testing.T) {
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := os.Stdout
	defer func() { os.Stdout = before }()
	os.Stdout = w
	joined := &terminal{copied: make(chan struct{})}
	if err := joined.attach(os.NewFile(uintptr(fd), "master")); err != nil {
		t.Fatal(err)
	}
	close(joined.copied) // the time is over
	if _, err := slave.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	joined.close()
	w.Close()
	if said, err := io.ReadAll(r); err != nil || string(said) != "last words" {
		t.Errorf("printed are %q, %v", said, err)
	}
}
