package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/internal/process"
)

// parents are the parent's phases at each place where the child waits for it.
func (a *assembly) parents() map[string][]plan.Phase {
	parents := map[string][]plan.Phase{
		syncBorn:     a.born(),
		syncJoined:   a.joined(),
		syncMounted:  a.mounted(),
		syncTerminal: {{Name: "parent: pass the terminal on", Steps: []plan.Step{a.terminalStep()}}},
		syncCreated:  {{Name: "parent: put it on record", Steps: a.recordSteps()}},
	}
	if a.process.filter != nil {
		parents[syncListener] = []plan.Phase{{Name: "parent: pass the seccomp listener on", Steps: []plan.Step{a.listenerStep()}}}
	}
	return parents
}

// born is what the parent does for a child that is in its new namespaces.
func (a *assembly) born() []plan.Phase {
	var phases []plan.Phase
	l := a.spec.Config.Linux
	if a.ns.new&unix.CLONE_NEWUSER != 0 {
		phases = append(phases, plan.Phase{Name: "parent: map users into the user namespace", Steps: a.mapSteps(l)})
	}
	if len(a.process.raised) > 0 {
		phases = append(phases, plan.Phase{Name: "parent: raise limits", Steps: a.raiseSteps()})
	}
	if score := a.spec.Config.Process.OOMScoreAdj; score != nil {
		phases = append(phases, plan.Phase{Name: "parent: set the OOM score", Steps: []plan.Step{{
			Op: "write", Object: "/proc/PID/oom_score_adj", Args: []plan.Arg{plan.A("data", *score)}, Why: "how soon the OOM killer takes it",
			Do: func() error { return a.writeProc("oom_score_adj", strconv.Itoa(*score)) },
		}}})
	}
	if a.rdt != nil {
		phases = append(phases, plan.Phase{Name: "parent: choose its class of service", Steps: a.rdt.Steps(&a.pid)})
	}
	if !a.netnsLater() {
		phases = append(phases, a.connect()...)
	}
	return phases
}

// joined is what the parent does for a child that has only now come to its own network namespace.
func (a *assembly) joined() []plan.Phase {
	if !a.netnsLater() {
		return nil
	}
	return a.connect()
}

// connect gets links into the container's network namespace.
func (a *assembly) connect() []plan.Phase {
	var phases []plan.Phase
	if len(a.netDevices) > 0 {
		phases = append(phases, plan.Phase{Name: "parent: give it links of the host's", Steps: a.netDeviceSteps()})
	}
	if a.spec.Prepare != nil {
		for _, phase := range a.spec.Prepare(&a.pid) {
			phase.Name = "parent: " + phase.Name
			phases = append(phases, phase)
		}
	}
	return phases
}

func (a *assembly) writeProc(name, text string) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/%s", a.pid, name), []byte(text), 0)
}

// mapSteps write the maps of user_namespaces(7). Who is not root asks newuidmap(1) to, which knows what he may map.
func (a *assembly) mapSteps(l *specs.Linux) []plan.Step {
	var steps []plan.Step
	root := os.Geteuid() == 0
	if !root && len(l.GIDMappings) == 1 && l.GIDMappings[0].Size == 1 {
		steps = append(steps, plan.Step{
			Op: "write", Object: "/proc/PID/setgroups", Args: []plan.Arg{plan.A("data", "deny")},
			Why: "without it a user may not map a group: he could drop one that denies him something",
			Do:  func() error { return a.writeProc("setgroups", "deny") },
		})
	}
	for _, m := range []struct {
		file, helper string
		maps         []specs.LinuxIDMapping
	}{{"uid_map", "newuidmap", l.UIDMappings}, {"gid_map", "newgidmap", l.GIDMappings}} {
		var lines, words []string
		for _, x := range m.maps {
			lines = append(lines, fmt.Sprintf("%d %d %d\n", x.ContainerID, x.HostID, x.Size))
			words = append(words, fmt.Sprint(x.ContainerID), fmt.Sprint(x.HostID), fmt.Sprint(x.Size))
		}
		text := strings.Join(lines, "")
		step := plan.Step{
			Op: "write", Object: "/proc/PID/" + m.file, Args: []plan.Arg{plan.A("data", fmt.Sprintf("%q", text))},
			Why: "which users there are in it, and who they are outside",
			Do:  func() error { return a.writeProc(m.file, text) },
		}
		if !root && (len(m.maps) > 1 || m.maps[0].Size > 1) {
			step.Op, step.Object, step.Args = "execve", m.helper, []plan.Arg{plan.A("args", words)}
			step.Do = func() error {
				out, err := exec.CommandContext(a.context(), m.helper, append([]string{fmt.Sprint(a.pid)}, words...)...).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w: %s", m.helper, err, strings.TrimSpace(string(out)))
				}
				return nil
			}
		}
		steps = append(steps, step)
	}
	return steps
}

// recordSteps put down what the process is, where the caller and the next tandem find it.
func (a *assembly) recordSteps() []plan.Step {
	steps := []plan.Step{{
		Op: "write", Object: filepath.Join(a.dir(), stateFile), Args: []plan.Arg{plan.A("status", specs.StateCreated)},
		Why: "from here on any tandem can start, signal and delete it", Do: a.record,
	}}
	if a.spec.PIDFile != "" {
		steps = append(steps, pidFileStep(a.spec.PIDFile, &a.pid))
	}
	return steps
}

func (a *assembly) record() error {
	id, err := process.Of(a.pid)
	if err != nil {
		return err
	}
	a.state.Init = id
	return change{Init: id, Beneath: a.state.Beneath}.append(a.dir())
}

// pidFileStep writes the file in one step, as somebody may wait for it.
func pidFileStep(path string, pid *int) plan.Step {
	return plan.Step{
		Op: "write", Object: path, Why: "the process's number, for the caller",
		Do: func() error {
			temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
			if err := os.WriteFile(temporary, []byte(strconv.Itoa(*pid)), 0o644); err != nil {
				return err
			}
			return os.Rename(temporary, path)
		},
		Undo: func() error { return os.Remove(path) },
	}
}

// run carries the plan out. If it fails, what was done is undone.
func (a *assembly) run(ctx context.Context) error {
	s := a.spec
	a.state = &state{
		ID: s.ID, Bundle: s.Bundle, Rootfs: a.rootPath(), Created: now(), Owner: os.Geteuid(), ctx: ctx,
		Version: s.Config.Version, Annotations: s.Config.Annotations, Command: s.Config.Process.Args[0],
		HostMounts: !a.ns.has(unix.CLONE_NEWNS), OwnPIDs: a.ns.new&unix.CLONE_NEWPID != 0,
		OwnKeys: !s.NoNewKeyring,
	}
	a.state.Notify = s.Notify
	if h := s.Config.Hooks; h != nil {
		a.state.Poststart, a.state.Poststop, a.state.StartHooks = h.Poststart, h.Poststop, h.StartContainer
	}
	if a.group != nil {
		a.state.Cgroup = a.group.Paths()
	}
	if a.rdt != nil {
		a.state.RDT = &rdtState{Path: a.rdt.Path(), Tasks: a.rdt.Tasks(), Owned: a.rdt.Owned()}
	}
	a.plan.Observe = s.Observe
	_, err := a.plan.Run(ctx)
	a.closeFIFOs()
	a.netMove.close()
	if a.cgroup != nil {
		a.cgroup.Close()
	}
	if closeErr := a.root.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return a.explain(err)
	}
	return nil
}

// errors that a failed container's clean-up may meet, and that are none.
func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
