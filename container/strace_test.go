package container

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/rootfs"
	"tandem/internal/plan"
	"tandem/internal/testenv"
)

// runVariable makes this test's program a runtime: it runs the container whose specification the variable holds.
const runVariable = "TANDEM_TEST_RUN"

type runRequest struct {
	State, ID, Bundle string
	Config            *specs.Spec
	Overlay           *rootfs.Overlay
	KillAt            int // the step before which it kills itself, from 1
}

func runRequested(text string) int {
	var r runRequest
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		panic(err)
	}
	e := &Engine{Root: r.State}
	ctx := context.Background()
	s := &Spec{ID: r.ID, Bundle: r.Bundle, Config: r.Config, Overlay: r.Overlay}
	if r.KillAt > 0 {
		step := 0
		s.Observe = func(*plan.Step) {
			if step++; step == r.KillAt {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
		_, err := e.Create(ctx, s)
		panic(err)
	}
	c, p, err := e.Run(ctx, s)
	if err != nil {
		panic(err)
	}
	status, err := p.Wait()
	if err != nil {
		panic(err)
	}
	if err := c.Delete(ctx, false); err != nil {
		panic(err)
	}
	return status.ExitStatus()
}

// traced is a line of strace's: the process and the system call.
var traced = regexp.MustCompile(`^(\d+) +([a-z_0-9]+)\(`)

// What is explained is what happens: the calls that strace sees of the child are those of the plan, in its order, all of
// them but those that it says may not be needed.
func TestPlanIsWhatStraceSees(t *testing.T) {
	testenv.Need(t, testenv.Strace)
	b := newBench(t)
	s := b.spec("exit 0")
	text, err := json.Marshal(runRequest{State: b.Root, ID: s.ID, Bundle: s.Bundle, Config: s.Config})
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("strace", "-f", "-o", log, "--", "/proc/self/exe")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = self
	cmd.Env = append(os.Environ(), runVariable+"="+string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := childCalls(t, log)
	planned := plannedCalls(t, b, s)
	// Which step a call is may be open for a while: that of a kind that may not be needed, or the next of that kind. So all
	// places in the plan are followed where the child may stand.
	stands := reach(planned, map[int]bool{0: true})
	for i, name := range seen {
		after := make(map[int]bool)
		for at := range stands {
			if at < len(planned) && planned[at].name == name {
				after[at+1] = true
			}
		}
		if len(after) == 0 {
			t.Fatalf("call %d of %d is %s; the plan has %v", i+1, len(seen), name, stepsAt(planned, stands))
		}
		stands = reach(planned, after)
	}
	if !stands[len(planned)] {
		t.Errorf("strace saw %d calls, and then none of %v", len(seen), stepsAt(planned, stands))
	}
}

// reach adds the places that are reached by passing over steps that may not be needed.
func reach(planned []plannedCall, stands map[int]bool) map[int]bool {
	for at := range planned {
		if stands[at] && planned[at].mayMiss {
			stands[at+1] = true
		}
	}
	return stands
}

func stepsAt(planned []plannedCall, stands map[int]bool) (steps []string) {
	for at := range planned {
		if stands[at] {
			steps = append(steps, planned[at].step)
		}
	}
	return steps
}

// childCalls are the system calls of the process that executes the stub, from where it begins with its program to where
// the container's command begins.
func childCalls(t *testing.T, log string) []string {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls := make(map[string][]string)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := traced.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		pid, name := m[1], m[2]
		calls[pid] = append(calls[pid], name)
		if n := len(calls[pid]); name == "execve" && n > 1 && strings.Contains(strings.Join(calls[pid], " "), "execveat") {
			mine := calls[pid]
			for mine[0] != "execveat" {
				mine = mine[1:] // what leads to it: descriptors that it inherits, signals
			}
			program := mine[1:]
			for program[0] == "pread64" || program[0] == "close_range" {
				program = program[1:] // the stub reads its program, and closes what that does not name
			}
			return append(mine[:1:1], program...)
		}
	}
	t.Fatalf("strace saw no child: %v", lines.Err())
	return nil
}

type plannedCall struct {
	name    string
	mayMiss bool
	step    string
}

func plannedCalls(t *testing.T, b *bench, s *Spec) []plannedCall {
	t.Helper()
	a, err := b.assemble(s, false, true)
	if err != nil {
		t.Fatal(err)
	}
	var all []plannedCall
	for _, phase := range a.program.Phases() {
		for _, step := range phase.Steps {
			mayMiss := strings.HasSuffix(step.Why, "(only if needed)")
			names := []string{step.Op}
			switch step.Op {
			case "sync":
				names = []string{"write", "read"}
			case "expect":
				names = nil // the child compares, and asks nothing
			}
			for _, name := range names {
				all = append(all, plannedCall{name, mayMiss, step.String()})
			}
		}
	}
	return all
}
