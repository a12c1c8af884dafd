package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	terminal "github.com/containerd/console"

	"tandem/internal/testenv"
)

// tandem is `tandem lab ARGS` on the lab of TestLab.
func (l *inLab) tandem(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), l.o.Program, append([]string{"lab"}, args...)...)
	cmd.Env = append(os.Environ(), "TANDEM_LAB_DIR="+l.o.Dir)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// testTool tries the command line.
func (l *inLab) testTool(t *testing.T) {
	t.Run("status", func(t *testing.T) {
		out, err := l.tandem(t, "status", "--json").Output()
		var state State
		if err == nil {
			err = json.Unmarshal(out, &state)
		}
		if err != nil || state.Phase != Ready || state.Dir != l.o.Dir {
			t.Errorf("status = %s, %v", out, err)
		}
	})
	t.Run("exec", func(t *testing.T) {
		folder := t.TempDir()
		cmd := l.tandem(t, "exec", "--share", folder, "-e", "A=b c", "-w", "/usr", "--", "sh", "-c", `cat; pwd; echo "$A"; echo out > $0/f; exit 7`, folder)
		cmd.Stdin = strings.NewReader("in\n")
		out, err := cmd.Output()
		if want := "in\n/usr\nb c\n"; string(out) != want || exitCode(err) != 7 {
			t.Errorf("output = %q, %v, want %q and status 7", out, err, want)
		}
		if text, err := os.ReadFile(filepath.Join(folder, "f")); string(text) != "out\n" {
			t.Errorf("the shared file = %q, %v", text, err)
		}
	})
	t.Run("order", func(t *testing.T) {
		// Where stdout and stderr are one file here, they are one in the lab, too.
		out, err := l.tandem(t, "exec", "sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; done").CombinedOutput()
		if want := "o1\ne1\no2\ne2\no3\ne3\n"; string(out) != want || err != nil {
			t.Errorf("output = %q, %v, want %q", out, err, want)
		}
	})
	t.Run("missing", func(t *testing.T) {
		out, err := l.tandem(t, "exec", "no-such-program").CombinedOutput()
		if exitCode(err) != 127 || !strings.Contains(string(out), "no-such-program") {
			t.Errorf("output = %q, %v, want status 127", out, err)
		}
	})
	t.Run("signals", l.testSignals)
	t.Run("terminal", l.testTerminal)
}

// testSignals holds that what ends the tool reaches the command.
func (l *inLab) testSignals(t *testing.T) {
	begin := func(script string) (*exec.Cmd, io.Reader) {
		cmd := l.tandem(t, "exec", "sh", "-c", script)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = io.ReadFull(out, make([]byte, len("ready\n")))
		}
		if err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	cmd, out := begin("trap 'echo trapped; exit 9' INT; echo ready; while :; do sleep 0.1; done")
	cmd.Process.Signal(os.Interrupt)
	text, _ := io.ReadAll(out)
	if err := cmd.Wait(); exitCode(err) != 9 || string(text) != "trapped\n" {
		t.Errorf("interrupted: %q, %v, want the command's own status 9", text, err)
	}
	cmd, _ = begin("echo ready; exec sleep 87654")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); exitCode(err) != 128+int(syscall.SIGTERM) {
		t.Errorf("terminated: %v, want status %d", err, 128+int(syscall.SIGTERM))
	}
	// Who does not listen is killed when he has been told often enough.
	cmd, _ = begin("trap '' INT TERM; echo ready; sleep 87654 & wait; sleep 87654")
	for range 3 {
		cmd.Process.Signal(os.Interrupt)
		time.Sleep(50 * time.Millisecond) // or the kernel makes one signal of them
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a command that ignores signals ended with status 0")
	}
	cmd, _ = begin("trap '' HUP INT TERM; echo ready; sleep 87654; sleep 87654")
	cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the commands are gone", func() bool {
		return l.sh(t, "grep -lz ^87654 /proc/[0-9]*/cmdline 2>/dev/null || true") == ""
	})
}

// testTerminal runs a command on a terminal of its own.
func (l *inLab) testTerminal(t *testing.T) {
	master, name, err := terminal.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	slave, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := master.Resize(terminal.WinSize{Height: 33, Width: 101}); err != nil {
		t.Fatal(err)
	}
	cmd := l.tandem(t, "exec", "sh", "-c", "stty size; read line; echo got $line; trap 'stty size; exit 5' WINCH; echo resize; while :; do sleep 0.1; done")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	screen := &transcript{r: master}
	screen.await(t, "33 101\r\n")
	if _, err := io.WriteString(master, "typed\r"); err != nil {
		t.Fatal(err)
	}
	screen.await(t, "typed\r\ngot typed\r\nresize\r\n") // echoed by the lab's terminal, once
	if err := master.Resize(terminal.WinSize{Height: 44, Width: 111}); err != nil {
		t.Fatal(err)
	}
	screen.await(t, "44 111\r\n")
	if err := cmd.Wait(); exitCode(err) != 5 {
		t.Errorf("Wait = %v, want status 5", err)
	}
}

// transcript reads what appears on a terminal.
type transcript struct {
	r    io.Reader
	text []byte
}

// await reads up to the end of what is wanted next.
func (s *transcript) await(t *testing.T, want string) {
	t.Helper()
	buf := make([]byte, 256)
	for {
		if _, after, found := bytes.Cut(s.text, []byte(want)); found {
			s.text = after
			return
		}
		n, err := s.r.Read(buf)
		if err != nil {
			t.Fatalf("the terminal shows %q and then %v, want %q", s.text, err, want)
		}
		s.text = append(s.text, buf[:n]...)
	}
}

// testGoTest runs go test with its test binaries in the lab, two packages at a time.
func (l *inLab) testGoTest(t *testing.T) {
	testenv.Need(t, testenv.GoToolchain)
	module := t.TempDir()
	writeFile(t, filepath.Join(module, "go.mod"), "module example\n")
	for _, pkg := range []string{"one", "two"} {
		writeFile(t, filepath.Join(module, pkg, "testdata", "name"), pkg)
		writeFile(t, filepath.Join(module, pkg, "x_test.go"), `package `+pkg+`

import (
	"os"
	"testing"
)

func Test(t *testing.T) {
	host, _ := os.Hostname()
	name, err := os.ReadFile("testdata/name")
	if host != "lab" || string(name) != "`+pkg+`" || err != nil {
		t.Errorf("on %s: %s, %v", host, name, err)
	}
}

func TestFails(t *testing.T) { t.Error("as it should") }
`)
	}
	goTest := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-exec", l.o.Program + " lab exec --"}, args...)...)
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "TANDEM_LAB_DIR="+l.o.Dir, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		return cmd.CombinedOutput()
	}
	out, err := goTest("-run=^Test$", "./...")
	if err != nil || strings.Count(string(out), "ok  \texample/") != 2 {
		t.Errorf("go test: %v\n%s", err, out)
	}
	out, err = goTest("./one")
	if exitCode(err) != 1 || !strings.Contains(string(out), "as it should") || !strings.Contains(string(out), "FAIL\texample/one") {
		t.Errorf("go test of a test that fails: %v\n%s", err, out)
	}
}
