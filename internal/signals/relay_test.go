package signals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVariable makes the test's binary the process that a test is about: whoever relays a signal does so for life.
const childVariable = "TANDEM_SIGNALS_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "all":
		os.Exit(sendAll())
	case "ignored":
		os.Exit(sendIgnored())
	case "broken":
		os.Exit(writeBroken())
	case "fork":
		os.Exit(fork())
	}
	os.Exit(m.Run())
}

func complain(err error) int {
	os.Stderr.WriteString(err.Error() + "\n")
	return 1
}

// sendAll gets each signal that it sends to itself, the first thousand times over.
func sendAll() int {
	c, usr1 := make(chan syscall.Signal, 1), make(chan syscall.Signal, 1)
	if err := Relay(c, Relayed...); err != nil {
		return complain(err)
	}
	if err := Relay(usr1, unix.SIGUSR1); err != nil {
		return complain(err)
	}
	for i := range 1000 + len(Relayed) {
		s := Relayed[max(i-1000, 0)]
		if err := unix.Kill(os.Getpid(), s); err != nil {
			return complain(err)
		}
		if got := <-c; got != s {
			os.Stderr.WriteString("sent " + s.String() + ", got " + got.String() + "\n")
			return 1
		}
	}
	if got := <-usr1; got != unix.SIGUSR1 {
		return 1
	}
	return 0
}

// sendIgnored was started with SIGHUP ignored, and gets it like any other.
func sendIgnored() int {
	c := make(chan syscall.Signal, 2)
	if err := Relay(c, unix.SIGHUP, unix.SIGTERM); err != nil {
		return complain(err)
	}
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGTERM} {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			return complain(err)
		}
	}
	if a, b := <-c, <-c; a+b != unix.SIGHUP+unix.SIGTERM {
		os.Stderr.WriteString("got " + a.String() + ", " + b.String() + "\n")
		return 1
	}
	return 0
}

// writeBroken has a standard output that nobody reads.
func writeBroken() int {
	c := make(chan syscall.Signal, 1)
	if err := Relay(c, unix.SIGPIPE); err != nil {
		return complain(err)
	}
	if _, err := os.Stdout.WriteString("heard?"); !errors.Is(err, unix.EPIPE) {
		os.Stderr.WriteString("no EPIPE\n")
		return 1
	}
	<-c
	return 0
}

// fork makes a process that tells which signals it catches: none; and which it ignores: those that this one was started
// with, but for what is relayed.
func fork() int {
	before, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return complain(err)
	}
	if err := Relay(make(chan syscall.Signal), Relayed...); err != nil {
		return complain(err)
	}
	out, err := exec.Command("cat", "/proc/self/status").Output()
	if err != nil {
		return complain(err)
	}
	if caught := mask(out, "SigCgt:"); caught != 0 {
		return complain(fmt.Errorf("it catches %x", caught))
	}
	want := mask(before, "SigIgn:")
	for _, s := range Relayed {
		want &^= 1 << (s - 1)
	}
	if ignored := mask(out, "SigIgn:"); ignored != want {
		return complain(fmt.Errorf("it ignores %x, want %x", ignored, want))
	}
	return 0
}

// mask is a line of /proc/PID/status: a set of signals.
func mask(status []byte, name string) (signals uint64) {
	_, rest, _ := strings.Cut(string(status), "\n"+name)
	if _, err := fmt.Sscanf(rest, "%x", &signals); err != nil {
		panic(err)
	}
	return signals
}

func inProcess(t *testing.T, what string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRelay(t *testing.T) { inProcess(t, "all", self(t)) }

func TestRelayOfOthers(t *testing.T) {
	inProcess(t, "fork", self(t))
	inProcess(t, "fork", "sh", "-c", `trap "" HUP TTOU; exec "$0"`, self(t))
}

// As nohup(1) starts a command, and a shell one in the background: os/signal relays those too.
func TestIgnoredIsRelayed(t *testing.T) {
	inProcess(t, "ignored", "sh", "-c", `trap "" HUP; exec "$0"`, self(t))
}

func TestBrokenPipeIsAnError(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := new(strings.Builder)
	cmd := exec.CommandContext(ctx, self(t))
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), childVariable+"=broken"), write, said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

func TestRelayRefuses(t *testing.T) {
	for _, s := range []syscall.Signal{0, unix.SIGKILL, unix.SIGSEGV, unix.SIGURG, unix.SIGCHLD, 65} {
		if err := Relay(make(chan syscall.Signal, 1), s); err == nil {
			t.Errorf("Relay(%d) is no error", int(s))
		}
	}
}
