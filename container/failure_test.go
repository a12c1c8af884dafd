package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/plan"
	"tandem/internal/process"
)

func TestHookFails(t *testing.T) {
	b := newBench(t)
	one := 1
	for name, hook := range map[string]specs.Hook{
		"it said: no":         {Path: "/bin/sh", Args: []string{"sh", "-c", "echo no; exit 3"}},
		"not done after 1s":   {Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Timeout: &one},
		"no such file or dir": {Path: "/no/such/hook"},
	} {
		s := b.spec("true")
		s.Config.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{hook}}
		_, err := b.Create(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "hooks.createRuntime[0]") {
			t.Errorf("error %v, want %q in it", err, name)
		}
		b.nothingLeft(s)
	}
}

// Whatever a container's hooks have made before one of them fails, or something else does, the poststop hooks take away: once,
// and when the process is gone.
func TestPoststopAfterFailure(t *testing.T) {
	b := newBench(t)
	fails := specs.Hook{Path: "/bin/false"}
	for name, test := range map[string]struct {
		hooks   specs.Hooks
		command string
		want    string
	}{
		"createRuntime":         {specs.Hooks{CreateRuntime: []specs.Hook{fails}}, "sh", "stopped\n"},
		"createContainer":       {specs.Hooks{CreateContainer: []specs.Hook{fails}}, "sh", "stopped\n"},
		"not a hook":            {specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}, "frobnicate", "stopped\n"},
		"nothing but a command": {specs.Hooks{}, "frobnicate", ""},
	} {
		log := filepath.Join(t.TempDir(), "log")
		s := b.spec("true")
		s.Config.Process.Args[0] = test.command
		s.Config.Hooks = &test.hooks
		script := fmt.Sprintf(`read state; echo "$state" | grep -o stopped >>%s; [ "$(cat /sys/fs/cgroup/*/%s/cgroup.procs 2>/dev/null)" = "" ]`, log, s.ID)
		test.hooks.Poststop = []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}
		b.Warn = func(format string, args ...any) { t.Errorf("%s: "+format, append([]any{name}, args...)...) }
		if _, err := b.Create(t.Context(), s); err == nil {
			t.Errorf("%s: no error", name)
		}
		if said, err := os.ReadFile(log); string(said) != test.want || err != nil && test.want != "" {
			t.Errorf("%s: the hook says %q, %v, want %q", name, said, err, test.want)
		}
		b.nothingLeft(s)
	}
}

// A hook that has done well may leave something running that holds its output open.
func TestHookLeavesADaemon(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "pid")
	s := b.spec("true")
	s.Config.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 1000 & echo $! >" + file}}}}
	b.create(s)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := process.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// A process that dies while it is made is told of, and nothing else.
func TestDiesInTheMaking(t *testing.T) {
	b := newBench(t)
	s := b.spec("true")
	s.Config.Process.NoNewPrivileges = false // the filter is loaded early, and what comes next is against it
	s.Config.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActKillProcess}
	_, err := b.Create(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "the child is gone: bad system call") || strings.Contains(err.Error(), "undo") {
		t.Errorf("create: %v", err)
	}
	b.nothingLeft(s)
}

// A container whose hook fails as it is started is stopped.
func TestStartHookFails(t *testing.T) {
	b := newBench(t)
	for name, hooks := range map[string]*specs.Hooks{
		"startContainer": {StartContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 3"}}}},
		"poststart":      {Poststart: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 3"}}}},
	} {
		s := b.spec("exec sleep 1000")
		s.Config.Version = "1.3.0"
		s.Config.Hooks = hooks
		c := b.create(s)
		if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "hooks."+name+"[0]: /bin/sh: exit status 3") {
			t.Errorf("start: %v, want %s's failure", err, name)
		}
		if got := b.status(c); got != specs.StateStopped {
			t.Errorf("%s failed: status %s, want stopped", name, got)
		}
	}
}

func (b *bench) nothingLeft(s *Spec) {
	b.t.Helper()
	if entries, err := os.ReadDir(b.Root); err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		b.t.Errorf("state: %v, %v", entries, err)
	}
	found, err := filepath.Glob("/sys/fs/cgroup/*/" + s.ID)
	if err != nil || len(found) > 0 {
		b.t.Errorf("cgroups: %v, %v", found, err)
	}
}

func TestFailures(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		change func(*specs.Spec)
		want   error
	}{
		"command":  {func(c *specs.Spec) { c.Process.Args = []string{"frobnicate"} }, unix.ENOENT},
		"cgroup":   {func(c *specs.Spec) { c.Linux.CgroupsPath = "a:b:c" }, nil},
		"mount":    {func(c *specs.Spec) { c.Mounts = append(c.Mounts, specs.Mount{Destination: "/tmp", Type: "frobfs"}) }, unix.ENODEV},
		"rlimit":   {func(c *specs.Spec) { c.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_FROB"}} }, ErrInvalid},
		"no root":  {func(c *specs.Spec) { c.Root.Path = "/no/such/root" }, unix.ENOENT},
		"apparmor": {func(c *specs.Spec) { c.Process.ApparmorProfile = "no-such-profile" }, labelError(haveAppArmor(), unix.ENOENT)},
		"selinux":  {func(c *specs.Spec) { c.Process.SelinuxLabel = "no:such:label" }, labelError(haveSELinux(), unix.EINVAL)},
	} {
		s := b.spec("true")
		test.change(s.Config)
		_, err := b.Create(t.Context(), s)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if name == "mount" {
			b.namesStep(err, b.Plan, s)
			_, _, err := b.Run(t.Context(), s)
			b.namesStep(err, b.PlanRun, s)
		}
		b.nothingLeft(s)
	}
}

func (b *bench) namesStep(err error, explain func(*Spec) (*plan.Plan, error), s *Spec) {
	b.t.Helper()
	var step *child.StepError
	if !errors.As(err, &step) {
		b.t.Fatalf("%v names no step", err)
	}
	p, err := explain(s)
	if err != nil {
		b.t.Fatal(err)
	}
	if said := numbered(p)[step.Number-1]; said.Op != step.Op || p.Len() != step.Total {
		b.t.Errorf("error %q names step %d of %d, which is %s of %d", step, step.Number, step.Total, said, p.Len())
	}
}

// labelError is what comes of a label that does not exist.
func labelError(have bool, unknown error) error {
	if have {
		return unknown
	}
	return ErrNotSupported
}

// A process that is started in a container gets the labels that it asks for, or is not started.
func TestExecLabelFails(t *testing.T) {
	b := newBench(t)
	c := b.running(nil)
	for _, test := range []struct {
		change func(*specs.Process)
		want   error
	}{
		{func(p *specs.Process) { p.ApparmorProfile = "no-such-profile" }, labelError(haveAppArmor(), unix.ENOENT)},
		{func(p *specs.Process) { p.SelinuxLabel = "no:such:label" }, labelError(haveSELinux(), unix.EINVAL)},
		{func(p *specs.Process) { p.ApparmorProfile = unconfined }, nil},
	} {
		process := *c.config.Process
		test.change(&process)
		if _, err := b.inside(c, ExecSpec{Process: &process}, "true"); !errors.Is(err, test.want) {
			t.Errorf("%q, %q: %v, want %v", process.ApparmorProfile, process.SelinuxLabel, err, test.want)
		}
	}
}

func numbered(p *plan.Plan) []plan.Step {
	var all []plan.Step
	for _, phase := range p.Phases {
		all = append(all, phase.Steps...)
	}
	return all
}

var errStop = errors.New("stopped by the test")

func TestUndoneAtEveryStep(t *testing.T) {
	b := newBench(t)
	p, err := b.Plan(b.spec("true"))
	if err != nil {
		t.Fatal(err)
	}
	for last := range p.Len() {
		s := b.spec("true")
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		s.Observe = func(*plan.Step) {
			if n == last {
				cancel(errStop)
			}
			n++
		}
		_, err := b.Create(ctx, s)
		cancel(nil)
		if err == nil {
			c, loadErr := b.Load(s.ID)
			if loadErr != nil {
				t.Fatal(loadErr)
			}
			if last != p.Len()-1 {
				t.Errorf("stopped at step %d of %d: no error", last+1, p.Len())
			}
			if err := c.Delete(t.Context(), true); err != nil {
				t.Error(err)
			}
			reap(c.state.Init.PID)
		} else if !errors.Is(err, errStop) {
			t.Errorf("stopped at step %d: %v", last+1, err)
		}
		b.nothingLeft(s)
	}
}

func TestSameIDAtTheSameTime(t *testing.T) {
	b := newBench(t)
	s := b.spec("true")
	var made sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			mine := *s
			mine.Config = testConfig(b.root, "true")
			mine.Config.Linux.CgroupsPath = s.Config.Linux.CgroupsPath
			c, err := b.Create(t.Context(), &mine)
			if err == nil {
				made.Store(i, c)
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	made.Range(func(_, v any) bool {
		n++
		c := v.(*Container)
		if err := c.Delete(t.Context(), true); err != nil {
			t.Error(err)
		}
		reap(c.state.Init.PID)
		return true
	})
	if n != 1 {
		t.Errorf("%d containers of one ID", n)
	}
}

// A maker that is killed before any of its steps leaves nothing that Collect does not find: whatever it had made.
func TestMakerKilledAtEveryStep(t *testing.T) {
	b := newBench(t)
	p, err := b.Plan(b.spec("true"))
	if err != nil {
		t.Fatal(err)
	}
	for last := range p.Len() {
		if numbered(p)[last].Do == nil {
			continue // the child's own
		}
		s := b.spec("true")
		text, err := json.Marshal(runRequest{State: b.Root, ID: s.ID, Bundle: s.Bundle, Config: s.Config, KillAt: last + 1})
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), runVariable+"="+string(text))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("killed at step %d: %v, %s", last+1, err, out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := b.Collect(ctx); err != nil {
			t.Errorf("killed at step %d: Collect: %v", last+1, err)
		}
		if c, err := b.Load(s.ID); err == nil { // it was complete
			if err := c.Delete(ctx, true); err != nil {
				t.Errorf("killed at step %d: Delete: %v", last+1, err)
			}
		}
		cancel()
		b.nothingLeft(s)
	}
}
