package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/guest/agent"
	"tandem/internal/testenv"
)

// inLab runs commands in the lab of TestLab.
type inLab struct {
	o       Options
	session *Session
}

// sh runs a shell command and returns its output.
func (l *inLab) sh(t *testing.T, script string, shares ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	c := Command{Args: []string{"sh", "-c", script}, Shares: shares, Stdout: &out, Stderr: &errs}
	p, err := l.session.Start(t.Context(), c)
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, &errs)
	}
	return out.String()
}

func (l *inLab) want(t *testing.T, script, want string) {
	t.Helper()
	if got := l.sh(t, script); got != want {
		t.Errorf("%s: %q, want %q", script, got, want)
	}
}

// TestLab boots a lab and tries everything in it, as a boot takes some seconds.
func TestLab(t *testing.T) {
	testenv.Need(t, testenv.Lab)
	l := &inLab{o: Options{Dir: filepath.Join(t.TempDir(), "lab"), Program: testenv.Tandem(t)}}
	t.Cleanup(func() {
		if err := Down(context.Background(), l.o); err != nil && !errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
		if _, err := os.Stat(l.o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state folder is still there: %v", err)
		}
	})
	state := mustUp(t, l.o)
	t.Logf("booted in %v", state.Boot)
	l.session = mustConnect(t, l.o)
	defer l.session.Close()

	t.Run("machine", func(t *testing.T) { l.testMachine(t, state) })
	t.Run("clock", l.testClock)
	t.Run("writes", l.testWrites)
	t.Run("shares", l.testShares)
	t.Run("fresh", l.testFresh)
	t.Run("command", l.testCommand)
	t.Run("parallel", l.testParallel)
	t.Run("gone", l.testGone)
	t.Run("tool", l.testTool)
	t.Run("gotest", l.testGoTest)
	t.Run("crash", l.testCrash) // the last
}

func (l *inLab) testMachine(t *testing.T, state State) {
	l.want(t, "uname -r", state.Kernel+"\n")
	l.want(t, "nproc", fmt.Sprintln(state.CPUs))
	l.want(t, "for d in kvm vhost-net vhost-vsock net/tun; do test -c /dev/$d || echo no $d; done", "")
	l.want(t, "stat -f -c %T /sys/fs/cgroup", "cgroup2fs\n")
	l.want(t, "cat /proc/sys/kernel/hostname; echo $TANDEM_LAB", "lab\n1\n")
	l.want(t, "ls /sys/class/net", "lo\n")
	l.want(t, "cat /sys/class/net/lo/operstate", "unknown\n") // which is how lo says that it is up
	// The kernel finds modules that were not loaded at boot.
	l.want(t, "/sbin/modprobe dummy && test -d /sys/module/dummy && echo loaded", "loaded\n")
	// Nobody comes upon the writable files of the host.
	l.want(t, "ls -A "+shareRoot, "")
}

func (l *inLab) testClock(t *testing.T) {
	ahead, err := clockAhead(t.Context(), l.session.Agent())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the lab is ahead by %v", ahead)
	// It is set to well below a millisecond; most of this is for a busy host.
	if ahead.Abs() > 100*time.Millisecond {
		t.Errorf("the lab's clock is ahead by %v", ahead)
	}
}

func (l *inLab) testWrites(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	writeFile(t, file, "host\n")
	l.sh(t, "cd "+folder+" && echo lab > file && echo lab > other && mkdir sub && touch /etc/tandem-lab-was-here")
	if text, err := os.ReadFile(file); string(text) != "host\n" {
		t.Errorf("the host's file is %q, %v", text, err)
	}
	if entries, err := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("the host's folder has %v, %v", entries, err)
	}
	if _, err := os.Stat("/etc/tandem-lab-was-here"); err == nil {
		t.Error("a file of the lab's is in the host's /etc")
	}
	// The lab keeps it for the next command.
	l.want(t, "cd "+folder+" && cat file other && ls", "lab\nlab\nfile\nother\nsub\n")
}

func (l *inLab) testShares(t *testing.T) {
	folder := t.TempDir()
	shared := filepath.Join(folder, "shared")
	writeFile(t, filepath.Join(shared, "old"), "old\n")
	alone := filepath.Join(folder, "alone")
	writeFile(t, alone, "")
	l.sh(t, "cd "+folder+" && cat shared/old > shared/new && rm shared/old && mkdir -m 700 shared/sub && echo x > shared/sub/x && "+
		"chmod 755 shared/sub/x && echo mine > alone && echo lost > lost", shared, alone)
	for file, want := range map[string]string{"shared/new": "old\n", "shared/sub/x": "x\n", "alone": "mine\n"} {
		if text, err := os.ReadFile(filepath.Join(folder, file)); string(text) != want {
			t.Errorf("%s = %q, %v, want %q", file, text, err, want)
		}
	}
	for _, file := range []string{"lost", "shared/old"} {
		if _, err := os.Stat(filepath.Join(folder, file)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it not to be there", file, err)
		}
	}
	if info, err := os.Stat(filepath.Join(shared, "sub/x")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("sub/x = %v, %v, want mode 0755", info, err)
	}
	if info, err := os.Stat(filepath.Join(shared, "new")); err == nil && time.Since(info.ModTime()).Abs() > time.Minute {
		t.Errorf("a file just written is of %v", info.ModTime())
	}
	// Another command that shares nothing writes to the lab's own again.
	l.sh(t, "echo lab > "+filepath.Join(shared, "new"))
	if text, _ := os.ReadFile(filepath.Join(shared, "new")); string(text) != "old\n" {
		t.Errorf("a command without shares has written %q", text)
	}
}

// testFresh changes files of the host in every way between commands, each of which must see the last state. The same
// size and the same second are what 9p's own version numbers do not tell apart.
func (l *inLab) testFresh(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	command := "cd " + folder + " && cat file && stat -c %s file && ls"
	writeFile(t, file, "one\n")
	l.want(t, command, "one\n4\nfile\n")
	writeFile(t, file, "two\n")
	l.want(t, command, "two\n4\nfile\n")
	writeFile(t, file, "three, which is longer\n")
	l.want(t, command, "three, which is longer\n23\nfile\n")
	writeFile(t, filepath.Join(folder, "next"), "four\n")
	if err := os.Rename(filepath.Join(folder, "next"), file); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, "more"), "")
	l.want(t, command, "four\n5\nfile\nmore\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.want(t, "cd "+folder+" && ls && cat file 2>/dev/null || echo gone", "more\ngone\n")
	writeFile(t, file, "five\n")
	l.want(t, command, "five\n5\nfile\nmore\n")

	// Programs are mapped, not read.
	program := filepath.Join(folder, "program")
	for _, what := range []string{"echo", "printf", "echo"} {
		binary, err := os.ReadFile("/usr/bin/" + what)
		if err != nil {
			t.Fatal(err)
		}
		for _, replace := range []func() error{
			func() error { return os.WriteFile(program, binary, 0o755) },
			func() error {
				if err := os.WriteFile(program+".new", binary, 0o755); err != nil {
					return err
				}
				return os.Rename(program+".new", program)
			},
		} {
			if err := replace(); err != nil {
				t.Fatal(err)
			}
			want := `a\tb` + "\n"
			if what == "printf" {
				want = "a\tb"
			}
			l.want(t, program+` 'a\tb'`, want)
		}
	}
}

func (l *inLab) testCommand(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	t.Setenv("GOTANDEM", "passes")
	t.Setenv("NOTPASSED", "1")
	var out, errs bytes.Buffer
	err := Exec(t.Context(), l.o, Command{
		Args:  []string{"sh", "-c", "pwd; cat; echo $GOTANDEM $NOTPASSED; echo to stderr >&2; exit 7"},
		Stdin: strings.NewReader("from stdin\n"), Stdout: &out, Stderr: &errs,
	})
	var exit *agent.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("Exec = %v, want exit status 7", err)
	}
	if want := folder + "\nfrom stdin\npasses\n"; out.String() != want {
		t.Errorf("stdout = %q, want %q", &out, want)
	}
	if errs.String() != "to stderr\n" {
		t.Errorf("stderr = %q", &errs)
	}
	for _, c := range []Command{{}, {Args: []string{"true"}, Shares: []string{"/no/such/folder"}}, {Args: []string{"true"}, Dir: "/no/such/folder"}} {
		if err := Exec(t.Context(), l.o, c); err == nil {
			t.Errorf("Exec of %+v: no error", c)
		}
	}
	if status := agent.ExitStatus(Exec(t.Context(), l.o, Command{Args: []string{"no-such-program"}})); status != 127 {
		t.Errorf("a command that is not there has status %d, want 127", status)
	}
}

func (l *inLab) testParallel(t *testing.T) {
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			var out bytes.Buffer
			err := Exec(t.Context(), l.o, Command{Args: []string{"sh", "-c", fmt.Sprintf("cat; echo %d", i)}, Stdin: strings.NewReader("in "), Stdout: &out})
			if want := fmt.Sprintf("in %d\n", i); err != nil || out.String() != want {
				t.Errorf("command %d: %q, %v, want %q", i, &out, err, want)
			}
		})
	}
	all.Wait()
}

// testGone holds that a command ends with its session, and with its context.
func (l *inLab) testGone(t *testing.T) {
	s := mustConnect(t, l.o)
	ctx, cancel := context.WithCancel(t.Context())
	sleep := func(ctx context.Context, seconds string) *Process {
		p, err := s.Start(ctx, Command{Args: []string{"sleep", seconds}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := sleep(ctx, "98765"), sleep(t.Context(), "98764")
	cancel()
	if err := one.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want context.Canceled", err)
	}
	s.Close()
	if err := two.Wait(); !errors.Is(err, agent.ErrClosed) && !errors.Is(err, ErrDied) {
		t.Errorf("Wait = %v, want a closed session", err)
	}
	eventually(t, "the commands are gone", func() bool {
		return l.sh(t, "grep -lz ^9876[45] /proc/[0-9]*/cmdline 2>/dev/null || true") == ""
	})
}

// testCrash ends the lab from inside, and wants to hear why.
func (l *inLab) testCrash(t *testing.T) {
	err := Exec(t.Context(), l.o, Command{Args: []string{"sh", "-c", "echo c > /proc/sysrq-trigger; sleep 1000"}})
	if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("Exec = %v, want ErrDied and the panic on the console", err)
	}
	if _, err := Status(t.Context(), l.o); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Status = %v, want ErrNotRunning", err)
	}
}
