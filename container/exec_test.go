package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/container/child"
	"tandem/internal/testenv"
)

// running is a container that waits for its end.
func (b *bench) running(change func(*Spec)) *Container {
	b.t.Helper()
	s := b.spec("exec sleep 1000")
	if change != nil {
		change(s)
	}
	c := b.create(s)
	if err := c.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// inside runs a script in a container that runs, and gives what it prints.
func (b *bench) inside(c *Container, s ExecSpec, script string) (string, error) {
	b.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	process := *c.config.Process
	if s.Process != nil {
		process = *s.Process
	}
	process.Args = []string{"sh", "-c", script}
	s.Process, s.Stdout, s.Stderr = &process, w, w
	p, err := c.Exec(b.t.Context(), &s)
	w.Close()
	if err != nil {
		return "", err
	}
	defer p.Release()
	text, _ := io.ReadAll(r)
	status, err := p.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("status %#x, output %q", status, text)
	}
	return string(text), err
}

func TestExecCPUAffinity(t *testing.T) {
	b := newBench(t)
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		t.Fatal(err)
	}
	last := ""
	for cpu := range maxCPUs / 8 {
		if own.IsSet(cpu) {
			last = fmt.Sprint(cpu)
		}
	}
	c := b.running(func(s *Spec) { s.Config.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: last} })
	const script = "grep Cpus_allowed_list /proc/self/status"
	want := "Cpus_allowed_list:\t" + last + "\n"
	if out, err := b.inside(c, ExecSpec{}, script); out != want || err != nil {
		t.Errorf("as the container's configuration says: %q, %v, want %q", out, err, want)
	}
	bare := *c.config.Process
	bare.ExecCPUAffinity = nil
	if out, err := b.inside(c, ExecSpec{Process: &bare}, script); out != want || err != nil {
		t.Errorf("by a process that says nothing: %q, %v, want %q", out, err, want)
	}
	first, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.state.Init.PID))
	if err != nil || own.Count() > 1 && strings.Contains(string(first), want) {
		t.Errorf("the container's first process has it too: %v", err)
	}
	for _, test := range []struct {
		is    specs.CPUAffinity
		phase string
	}{
		{specs.CPUAffinity{Initial: "8000", Final: last}, "choose the CPUs to begin on"},
		{specs.CPUAffinity{Initial: last, Final: "8000"}, "choose the CPUs to run on"},
	} {
		own := *c.config.Process
		own.ExecCPUAffinity = &test.is
		_, err := b.inside(c, ExecSpec{Process: &own}, script)
		var step *child.StepError
		if !errors.As(err, &step) || step.Phase != test.phase || !errors.Is(err, unix.EINVAL) {
			t.Errorf("%+v: %v, want phase %q to fail", test.is, err, test.phase)
		}
	}
	bad := *c.config.Process
	bad.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0-"}
	if _, err := b.inside(c, ExecSpec{Process: &bad}, script); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), `execCPUAffinity.initial "0-"`) {
		t.Errorf("malformed: %v", err)
	}
}

// One is before the cgroup is joined, one after.
func TestExecCPUAffinityOrder(t *testing.T) {
	b := newBench(t)
	c := b.running(nil)
	process := *c.config.Process
	process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0"}
	s := &ExecSpec{Process: &process}
	x, err := c.execProcess(s)
	if err != nil {
		t.Fatal(err)
	}
	pidFD, err := c.pidFD()
	if err != nil {
		t.Fatal(err)
	}
	defer pidFD.Close()
	p := child.New()
	if err := c.writeExec(p, s, x, pidFD); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, phase := range p.Phases() {
		names = append(names, phase.Name)
	}
	want := []string{"leave the runtime behind", "choose the CPUs to begin on", "join the cgroup", "choose the CPUs to run on"}
	if len(names) < len(want) || !slices.Equal(names[:len(want)], want) {
		t.Errorf("phases %q, want %q first", names, want)
	}
}

// subgroup makes a group below a container's in each of its hierarchies, as the container could.
func subgroup(t *testing.T, c *Container, name string) {
	t.Helper()
	for _, path := range c.state.Cgroup {
		dir := filepath.Join(path, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if text, err := os.ReadFile(filepath.Join(path, file)); err == nil && c.state.Cgroup[""] == "" {
				if err := os.WriteFile(filepath.Join(dir, file), text, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestExecInSubCgroup(t *testing.T) {
	for _, version := range []struct {
		name string
		need *testenv.Requirement
		one  string // a controller to be named
	}{{"v1", testenv.Cgroup1, "memory"}, {"v2", testenv.Cgroup2, ""}} {
		t.Run(version.name, func(t *testing.T) {
			testenv.Need(t, version.need)
			b := newBench(t)
			c := b.running(nil)
			subgroup(t, c, "sub")
			in := func(paths map[string]string) []string {
				t.Helper()
				out, err := b.inside(c, ExecSpec{Cgroups: paths}, "cat /proc/self/cgroup")
				if err != nil {
					t.Fatalf("%v: %v", paths, err)
				}
				var keys []string // of the hierarchies in which it is in the group below
				for line := range strings.Lines(out) {
					fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
					if fields[2] == "/sub" {
						keys = append(keys, strings.Split(fields[1], ",")...)
					}
				}
				slices.Sort(keys)
				return keys
			}
			var all []string
			for key := range c.state.Cgroup {
				all = append(all, key)
			}
			slices.Sort(all)
			if got := in(map[string]string{"": "sub"}); !slices.Equal(got, all) {
				t.Errorf("in /sub of %q, want of %q", got, all)
			}
			if got := in(map[string]string{version.one: "/sub/"}); !slices.Equal(got, []string{version.one}) {
				t.Errorf("in /sub of %q, want of %q", got, version.one)
			}
			for _, test := range []struct {
				paths map[string]string
				is    error
			}{
				{map[string]string{"": ".."}, cgroup.ErrInvalid},
				{map[string]string{"": "sub/../.."}, cgroup.ErrInvalid},
				{map[string]string{"nosuch": "sub"}, cgroup.ErrNotSupported},
				{map[string]string{"": "nosuch"}, os.ErrNotExist},
			} {
				if out, err := b.inside(c, ExecSpec{Cgroups: test.paths}, "true"); !errors.Is(err, test.is) {
					t.Errorf("%v: %q, %v, want %v", test.paths, out, err, test.is)
				}
			}
		})
	}
}

// A container that hands controllers down to groups of its own still takes processes: beside its first one.
func TestExecInDividedCgroup(t *testing.T) {
	testenv.Need(t, testenv.Cgroup2)
	b := newBench(t)
	c := b.running(nil)
	subgroup(t, c, "init")
	top := c.state.Cgroup[""]
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(top, file), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("init/cgroup.procs", fmt.Sprint(c.state.Init.PID))
	write("cgroup.subtree_control", "+memory")
	out, err := b.inside(c, ExecSpec{}, "cat /proc/self/cgroup")
	if err != nil || !strings.Contains(out, "0::/init\n") {
		t.Errorf("group %q, %v, want that of the first process", out, err)
	}
	if _, err := b.inside(c, ExecSpec{Cgroups: map[string]string{"": "."}}, "true"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("asked for the divided group itself: %v, want %v", err, unix.EBUSY)
	}
}
