package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/internal/process"
)

// eventually waits for a condition that other processes bring about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in 20 s: %s", what)
		}
	}
}

// alive tells whether a process runs.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	end := bytes.LastIndexByte(stat, ')')
	return !bytes.HasPrefix(stat[end:], []byte(") Z")) && !bytes.HasPrefix(stat[end:], []byte(") X"))
}

func mustUp(t *testing.T, o Options) State {
	t.Helper()
	state, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// runIn runs a shell command in a session and returns its output.
func runIn(t *testing.T, s *Session, script string) string {
	t.Helper()
	out, err := s.Agent().Command(t.Context(), "sh", "-c", script).Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

func mustConnect(t *testing.T, o Options) *Session {
	t.Helper()
	s, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUpStatusDown(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	if _, err := Status(t.Context(), o); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Status before Up = %v, want ErrNotRunning", err)
	}
	up := mustUp(t, o)
	if up.Phase != Ready || up.Kernel != "6.1.0-fake" || up.Idle != DefaultIdle || up.Dir != o.Dir {
		t.Errorf("Up = %+v", up)
	}
	if !alive(up.Supervisor) || !alive(up.QEMU) {
		t.Errorf("the processes %d and %d do not both run", up.Supervisor, up.QEMU)
	}
	status, err := Status(t.Context(), o)
	if err != nil || status != up {
		t.Errorf("Status = %+v, %v, want %+v", status, err, up)
	}
	again := mustUp(t, o)
	if again.Supervisor != up.Supervisor {
		t.Errorf("a second Up got supervisor %d, want %d", again.Supervisor, up.Supervisor)
	}
	if err := Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if alive(up.Supervisor) || alive(up.QEMU) {
		t.Error("a process is left after Down")
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder is left after Down: %v", err)
	}
	if err := Down(t.Context(), o); !errors.Is(err, ErrNotRunning) {
		t.Errorf("second Down = %v, want ErrNotRunning", err)
	}
}

func TestUpAtTheSameTime(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	// Three rounds, as each leaves a folder that goes away just as the next comes.
	for range 3 {
		var all sync.WaitGroup
		supervisors := make([]int, 12)
		for i := range supervisors {
			all.Go(func() {
				state, err := Up(t.Context(), o)
				if err != nil {
					t.Error(err)
				}
				supervisors[i] = state.Supervisor
			})
		}
		all.Wait()
		for _, pid := range supervisors {
			if pid != supervisors[0] {
				t.Fatalf("supervisors = %v, want one for all", supervisors)
			}
		}
		if err := Down(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// Up and Down from all sides must end with one of both, and never with an error or a lab that nobody knows.
func TestUpAndDownAtTheSameTime(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				if _, err := Up(t.Context(), o); err != nil {
					t.Errorf("Up: %v", err)
				}
				if err := Down(t.Context(), o); err != nil && !errors.Is(err, ErrNotRunning) {
					t.Errorf("Down: %v", err)
				}
			}
		})
	}
	all.Wait()
}

func TestSessionsAreCounted(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	one, two := mustConnect(t, o), mustConnect(t, o)
	sessions := func() int {
		state, err := Status(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return state.Sessions
	}
	if n := sessions(); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	if out := runIn(t, one, "echo from one"); out != "from one\n" {
		t.Errorf("output = %q", out)
	}
	if out := runIn(t, two, "echo from two"); out != "from two\n" {
		t.Errorf("output = %q", out)
	}
	one.Close()
	eventually(t, "one session less", func() bool { return sessions() == 1 })
	two.Close()
	eventually(t, "no session", func() bool { return sessions() == 0 })
}

func TestIdle(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	o.Idle = 300 * time.Millisecond
	s := mustConnect(t, o)
	state, err := Status(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// A lab in use is not idle, however long nothing happens.
	runIn(t, s, "sleep 0.9")
	runIn(t, s, "true")
	s.Close()
	closed := time.Now()
	eventually(t, "an idle lab goes down", func() bool { return !alive(state.Supervisor) })
	if took := time.Since(closed); took < o.Idle {
		t.Errorf("it was idle for %v, and down after %v", o.Idle, took)
	}
	if alive(state.QEMU) {
		t.Error("QEMU is left")
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder is left: %v", err)
	}
}

// Whoever comes as an idle lab goes down gets a new one, and no error.
func TestConnectWhileGoingDown(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	o.Idle = time.Millisecond
	for range 20 {
		s := mustConnect(t, o)
		if out := runIn(t, s, "echo here"); out != "here\n" {
			t.Errorf("output = %q", out)
		}
		s.Close()
	}
}

func TestSupervisorKilled(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	s := mustConnect(t, o)
	defer s.Close()
	state := mustUp(t, o)
	if err := syscall.Kill(state.Supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "QEMU ends with its supervisor", func() bool { return !alive(state.QEMU) })
	select {
	case <-s.Agent().Done():
	case <-time.After(10 * time.Second):
		t.Error("the session goes on without a supervisor")
	}
	if _, err := Status(t.Context(), o); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Status = %v, want ErrNotRunning", err)
	}
	again := mustUp(t, o)
	if again.Supervisor == state.Supervisor || !alive(again.QEMU) {
		t.Errorf("Up after that = %+v", again)
	}
}

// A supervisor that died is not taken for the process that has its number now.
func TestStaleRecord(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	d := dir(o.Dir)
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	self.Start-- // an earlier process of the same number
	s := &supervisor{}
	if s.record, err = os.Create(d.file(supervisorFile)); err != nil {
		t.Fatal(err)
	}
	if err := s.writeRecord(self); err != nil {
		t.Fatal(err)
	}
	s.record.Close()
	for _, name := range []string{socketFile, logFile, consoleFile} {
		if err := os.WriteFile(d.file(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustUp(t, o) // would have killed this very process
}

func TestMachineDied(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	s := mustConnect(t, o)
	defer s.Close()
	state := mustUp(t, o)
	cmd := s.Agent().Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd, s}
	eventually(t, "the greeting on the console", func() bool {
		text, err := os.ReadFile(state.Console)
		return err == nil && strings.Contains(string(text), greeting)
	})
	if err := syscall.Kill(state.QEMU, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := p.Wait()
	if !errors.Is(err, ErrDied) {
		t.Fatalf("Wait = %v, want ErrDied", err)
	}
	for _, want := range []string{"signal: killed", greeting} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Wait = %q, want %q in it", err, want)
		}
	}
	eventually(t, "the supervisor ends with its machine", func() bool { return !alive(state.Supervisor) })
	if text, err := os.ReadFile(state.Console); err != nil || !strings.Contains(string(text), greeting) {
		t.Errorf("console = %q, %v, want it kept for people to read", text, err)
	}
	mustUp(t, o)
}

// A machine that hangs is noticed, and who waits for a command in it waits no longer.
func TestMachineHangs(t *testing.T) {
	o := fakeLab(t, deafMachine)
	s := mustConnect(t, o)
	defer s.Close()
	state := mustUp(t, o)
	cmd := s.Agent().Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(state.Supervisor, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd, s}
	if err := p.Wait(); !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "has not answered for 2s") {
		t.Errorf("Wait = %v, want ErrDied, as the machine does not answer", err)
	}
	eventually(t, "the supervisor ends with its machine", func() bool { return !alive(state.Supervisor) && !alive(state.QEMU) })
	mustUp(t, o)
}

func TestStartFails(t *testing.T) {
	o := fakeLab(t, brokenMachine)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no flux capacitor") {
				t.Errorf("Up = %v, want the machine's error", err)
			}
		})
	}
	all.Wait()
}

func TestNotTandem(t *testing.T) {
	o := fakeLab(t, silentProgram)
	_, err := Up(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "supervisor: exit status 1") || !strings.Contains(err.Error(), "who is that?") {
		t.Errorf("Up = %v, want what the program said", err)
	}
	t.Setenv(supervisorVariable, "1")
	if _, err := Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not tandem") {
		t.Errorf("Up in a supervisor = %v, want that refused", err)
	}
}

func TestUpInterrupted(t *testing.T) {
	o := fakeLab(t, slowMachine)
	ctx, cancel := context.WithCancel(t.Context())
	var steps []string
	o.Progress = func(step string) {
		if steps = append(steps, step); step == "fake it" {
			cancel()
		}
	}
	if _, err := Up(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Up = %v after the steps %q, want context.Canceled", err, steps)
	}
	// The lab goes on starting, for whoever else waits for it.
	state, err := Status(t.Context(), o)
	if err != nil || state.Phase != Starting {
		t.Errorf("Status = %+v, %v, want it starting", state, err)
	}
	if err := Down(t.Context(), o); err != nil {
		t.Errorf("Down of a lab that starts: %v", err)
	}
}

func TestInLab(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	t.Setenv(Variable, "1")
	if _, err := Up(t.Context(), o); !errors.Is(err, ErrInLab) {
		t.Errorf("Up in a lab = %v, want ErrInLab", err)
	}
}
