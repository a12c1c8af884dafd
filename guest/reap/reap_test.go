package reap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// reaperVariable has the test binary be a process with a Reaper: in the tests' own, the Reaper would wait for what the
// testing package has started.
const reaperVariable = "TANDEM_TEST_REAPER"

func TestMain(m *testing.M) {
	if os.Getenv(reaperVariable) != "" {
		if err := reaperMain(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testenv.Main(m)
}

// patience bounds what would otherwise hang for ever.
const patience = 3 * time.Minute

// starter is what Reaper and Each have in common.
type starter interface {
	Start(argv0 string, argv []string, attr *syscall.ProcAttr) (int, <-chan Exit, error)
}

// shell runs a script to its end.
func shell(s starter, script string) (syscall.WaitStatus, error) {
	_, ended, err := s.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, err
	}
	select {
	case exit := <-ended:
		return exit.Status, nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s: not reported", script)
	}
}

// checkStatuses runs many processes at once, each with an end of its own.
func checkStatuses(s starter, prefix string) error {
	errs := make(chan error, 16)
	for i := range cap(errs) {
		go func() {
			status, err := shell(s, fmt.Sprintf("%s exit %d", prefix, i))
			if err == nil && (!status.Exited() || status.ExitStatus() != i) {
				err = fmt.Errorf("status %#x, want %d", status, i)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			return err
		}
	}
	status, err := shell(s, "kill -KILL $$")
	if err == nil && (!status.Signaled() || status.Signal() != unix.SIGKILL) {
		err = fmt.Errorf("status %#x, want %v", status, unix.SIGKILL)
	}
	return err
}

// checkFailure starts what does not start.
func checkFailure(s starter) error {
	if _, _, err := s.Start("/no/such/file", []string{"x"}, &syscall.ProcAttr{}); err != unix.ENOENT {
		return fmt.Errorf("start of no file: %v, want %v", err, unix.ENOENT)
	}
	return nil
}

func TestEach(t *testing.T) {
	if err := checkStatuses(Each{}, ""); err != nil {
		t.Error(err)
	}
	if err := checkFailure(Each{}); err != nil {
		t.Error(err)
	}
}

func TestReaper(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), reaperVariable+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := time.AfterFunc(2*patience, func() { once.Do(func() { cmd.Process.Kill() }) })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// reaperMain is in the place of pid 1 for all below it.
func reaperMain() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	r := New()
	select {
	case <-r.Childless():
	case <-time.After(patience):
		return fmt.Errorf("not childless at first")
	}
	// Each leaves orphans, which end before, while and after it is waited for.
	if err := checkStatuses(r, "(true & sh -c 'sleep 0.0$$' & sleep 0.05 &);"); err != nil {
		return err
	}
	if err := checkFailure(r); err != nil {
		return err
	}
	childless := r.Childless()
	if _, err := shell(r, "(sleep 0.2 &)"); err != nil {
		return err
	}
	select {
	case <-childless:
	case <-time.After(patience):
		return fmt.Errorf("not childless in the end")
	}
	return noChildren()
}

// noChildren looks for zombies, and any others.
func noChildren() error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil || strings.TrimSpace(string(text)) != "" {
		return fmt.Errorf("children %q, %v", text, err)
	}
	return nil
}
