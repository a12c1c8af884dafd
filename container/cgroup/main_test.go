package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/internal/testenv"
)

// workerVariable makes the test program a process to put into a group; its value is what the process does there.
const workerVariable = "TANDEM_CGROUP_WORKER"

func TestMain(m *testing.M) {
	if job := os.Getenv(workerVariable); job != "" {
		os.Exit(work(job))
	}
	testenv.MainHostWide(m)
}

// patience is for what happens at once on a machine that has nothing else to do.
const patience = 30 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eachVersion runs a test on the version that this host has, as a subtest of its name.
func eachVersion(t *testing.T, test func(t *testing.T, host Host)) {
	for _, version := range []struct {
		name string
		need *testenv.Requirement
	}{{"v1", testenv.Cgroup1}, {"v2", testenv.Cgroup2}} {
		t.Run(version.name, func(t *testing.T) {
			testenv.Need(t, version.need, testenv.Root)
			test(t, detect(t))
		})
	}
}

func detect(t testing.TB) Host {
	t.Helper()
	host, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

var groups atomic.Int32

// newGroup plans a group of the test's own, below a folder of this process's own.
func newGroup(t testing.TB, host Host, resources string) *Group {
	t.Helper()
	path, err := ParsePath(fmt.Sprintf("/tandem-test-%d/%d", os.Getpid(), groups.Add(1)), "")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(host, path, fromJSON(t, resources))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(t, g) })
	return g
}

// discard ends and removes whatever there is of a group, and of the folder above it.
func discard(t testing.TB, g *Group) {
	ctx := soon(t)
	if err := g.Kill(ctx); err != nil && !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := g.Remove(ctx); err != nil {
		t.Error(err)
	}
	for _, f := range g.folders {
		if err := unix.Rmdir(filepath.Dir(f.path)); err != nil && !inUse(err) && !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
	}
}

func run(t testing.TB, steps []plan.Step) {
	t.Helper()
	if _, err := try(steps); err != nil {
		t.Fatal(err)
	}
}

func try(steps []plan.Step) (*plan.Done, error) {
	p := plan.New("test")
	p.Add(steps...)
	return p.Run(context.Background())
}

// makeGroup makes one.
func makeGroup(t testing.TB, host Host, resources string) *Group {
	t.Helper()
	g := newGroup(t, host, resources)
	run(t, g.Create())
	return g
}

// workerProcess is a worker.
type workerProcess struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a worker, which waits to be told to begin.
func start(t testing.TB, attr *syscall.SysProcAttr, job ...string) *workerProcess {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workerVariable+"="+strings.Join(job, " "))
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a second time does nothing
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &workerProcess{cmd, in, bufio.NewReader(out)}
}

// startIn starts a worker and moves it into the group.
func startIn(t testing.TB, g *Group, job ...string) *workerProcess {
	t.Helper()
	p := start(t, nil, job...)
	pid := p.Process.Pid
	run(t, g.Join(&pid))
	t.Cleanup(func() { // before the one of start, which would wait for a process that is frozen
		if err := g.Kill(soon(t)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// begin lets the worker do its job.
func (p *workerProcess) begin(t testing.TB) {
	t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
}

// line is the next that the worker prints.
func (p *workerProcess) line(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("worker: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// ended is the signal by which the worker ends.
func (p *workerProcess) ended(t testing.TB) syscall.Signal {
	t.Helper()
	io.Copy(io.Discard, p.out)
	err := p.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("worker ended with %v, not by a signal", err)
	}
	return exit.Sys().(syscall.WaitStatus).Signal()
}

// used is the processor time of a process, in nanoseconds.
func used(t testing.TB, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.Fields(string(text))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx := soon(t)
	var p pause
	for !is() {
		if err := p.wait(ctx); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
