package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/internal/testenv"
)

func TestFreeze(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		p := startIn(t, g, "spin")
		p.begin(t)
		p.line(t)
		pid := p.Process.Pid
		if state, err := g.State(); state != Running || err != nil {
			t.Errorf("State() = %s, %v, want running", state, err)
		}
		for range 3 {
			if err := g.Freeze(soon(t)); err != nil {
				t.Fatal(err)
			}
			if state, err := g.State(); state != Frozen || err != nil {
				t.Errorf("State() = %s, %v, want frozen", state, err)
			}
			before := used(t, pid)
			time.Sleep(50 * time.Millisecond) // in which it would have used some, had it run
			if after := used(t, pid); after != before {
				t.Errorf("a frozen process used %d ns", after-before)
			}
			other := start(t, nil, "wait")
			otherPID := other.Process.Pid
			if _, err := try(g.Join(&otherPID)); !errors.Is(err, ErrFrozen) {
				t.Errorf("joining a frozen group: %v, want ErrFrozen", err)
			}
			if err := g.Thaw(soon(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it goes on", func() bool { return used(t, pid) > before })
		}
	})
}

// TestFreezeGivesUp freezes what cannot freeze in time: nothing of it may stay.
func TestFreezeGivesUp(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		p := startIn(t, g, "spin")
		p.begin(t)
		p.line(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		impatient := errors.New("impatient")
		cancel(impatient)
		if err := g.Freeze(ctx); err != nil && !errors.Is(err, impatient) {
			t.Errorf("Freeze = %v, want the context's cause", err)
		} else if err != nil {
			eventually(t, "it goes on", func() bool {
				state, err := g.State()
				return err == nil && state == Running
			})
		}
	})
}

func TestFreezeOfOneself(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		own, err := host.Of(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := own.Freeze(soon(t)); !errors.Is(err, ErrInvalid) {
			t.Errorf("Freeze of this process's own group = %v, want ErrInvalid", err)
		}
	})
}

func TestKill(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		t.Run("a fork bomb", func(t *testing.T) {
			g := makeGroup(t, host, `{"pids":{"limit":100}}`)
			p := startIn(t, g, "bomb")
			p.begin(t)
			p.line(t)
			eventually(t, "it grows", func() bool {
				pids, err := g.AllPids()
				return err == nil && len(pids) > 5
			})
			killed(t, g)
			if signal := p.ended(t); signal != syscall.SIGKILL {
				t.Errorf("bomb ended by %v", signal)
			}
		})
		t.Run("a frozen group", func(t *testing.T) {
			g := makeGroup(t, host, `{}`)
			p := startIn(t, g, "wait")
			if err := g.Freeze(soon(t)); err != nil {
				t.Fatal(err)
			}
			killed(t, g)
			if signal := p.ended(t); signal != syscall.SIGKILL {
				t.Errorf("a frozen process ended by %v", signal)
			}
			if err := g.Thaw(soon(t)); err != nil {
				t.Error(err)
			}
		})
		t.Run("groups below", func(t *testing.T) {
			g := makeGroup(t, host, `{}`)
			inner := makeBelow(t, g)
			pid := start(t, nil, "wait").Process.Pid
			run(t, inner.Join(&pid))
			if pids, err := g.Pids(); err != nil || len(pids) != 0 {
				t.Errorf("Pids() = %v, %v, want none", pids, err)
			}
			if pids, err := g.AllPids(); err != nil || !slices.Equal(pids, []int{pid}) {
				t.Errorf("AllPids() = %v, %v, want %d", pids, err, pid)
			}
			killed(t, g)
		})
		t.Run("without a freezer or cgroup.kill", func(t *testing.T) {
			g := makeGroup(t, without(host, "freezer"), `{"pids":{"limit":100}}`)
			p := startIn(t, g, "bomb")
			p.begin(t)
			p.line(t)
			if err := killEach(soon(t), g.counting()); err != nil {
				t.Error(err)
			}
			killed(t, g)
		})
		t.Run("nobody", func(t *testing.T) {
			g := makeGroup(t, host, `{}`)
			killed(t, g)
			if err := g.Remove(soon(t)); err != nil {
				t.Error(err)
			}
			if err := g.Kill(soon(t)); err != nil {
				t.Errorf("Kill of a group that is gone: %v", err)
			}
		})
	})
}

// without is a host that lacks a hierarchy.
func without(h Host, controller string) Host {
	h.Hierarchies = slices.DeleteFunc(slices.Clone(h.Hierarchies), func(x Hierarchy) bool {
		return x.Version == 1 && slices.Contains(x.Controllers, controller)
	})
	return h
}

func killed(t *testing.T, g *Group) {
	t.Helper()
	if err := g.Kill(soon(t)); err != nil {
		t.Error(err)
	}
	if pids, err := g.AllPids(); err != nil || len(pids) != 0 {
		t.Errorf("AllPids() = %v, %v after Kill", pids, err)
	}
}

// makeBelow makes a group inside of another, as a container that divides its own does.
func makeBelow(t testing.TB, g *Group) *Group {
	t.Helper()
	inner := &Group{}
	for _, f := range g.folders {
		inner.folders = append(inner.folders, folder{f.Hierarchy, f.file("inner")})
		if err := os.Mkdir(f.file("inner"), 0o755); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(f.Controllers, "cpuset") && f.Version == 1 {
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
				run(t, []plan.Step{folder{f.Hierarchy, f.file("inner")}.inheritStep(name)})
			}
		}
	}
	return inner
}

func TestRemove(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		makeBelow(t, g)
		p := startIn(t, g, "wait")
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := g.Remove(short); !errors.Is(err, ErrInUse) {
			t.Errorf("Remove with a process in it = %v, want ErrInUse", err)
		}
		// One that is killed while Remove waits.
		time.AfterFunc(20*time.Millisecond, func() { p.Process.Kill() })
		if err := g.Remove(soon(t)); err != nil {
			t.Error(err)
		}
		for _, f := range g.folders {
			if f.alive() {
				t.Errorf("%s is left", f.path)
			}
		}
		if err := g.Remove(soon(t)); err != nil {
			t.Errorf("Remove again: %v", err)
		}
		if _, err := g.Stats(); !errors.Is(err, ErrGone) {
			t.Errorf("Stats() = %v, want ErrGone", err)
		}
		if _, err := g.State(); !errors.Is(err, ErrGone) {
			t.Errorf("State() = %v, want ErrGone", err)
		}
	})
}

// TestUndo breaks the plan at each step in turn: all that was made before has to go.
func TestUndo(t *testing.T) {
	const resources = `{"memory":{"limit":33554432},"pids":{"limit":5},"devices":[{"allow":false,"access":"rwm"}]}`
	eachVersion(t, func(t *testing.T, host Host) {
		broken := errors.New("broken")
		for n := 0; ; n++ {
			g := newGroup(t, host, resources)
			steps := g.Create()
			if n > len(steps) {
				break
			}
			steps = slices.Insert(steps, n, plan.Step{Op: "break", Do: func() error { return broken }})
			if _, err := try(steps); !errors.Is(err, broken) || strings.Contains(err.Error(), "undo") {
				t.Errorf("broken at step %d: %v", n, err)
			}
			for _, f := range g.folders {
				if f.alive() || parent(f).alive() {
					t.Fatalf("broken at step %d: %s or the group above is left", n, f.path)
				}
			}
		}
	})
}

// TestUndoLeavesOthers wants the group above to stay if somebody has come to use it.
func TestUndoLeavesOthers(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := newGroup(t, host, `{}`)
		done, err := try(g.Create())
		if err != nil {
			t.Fatal(err)
		}
		other := makeGroup(t, host, `{}`)
		if err := done.Undo(); err != nil {
			t.Error(err)
		}
		for i, f := range g.folders {
			if f.alive() {
				t.Errorf("%s is left", f.path)
			}
			if !other.folders[i].alive() {
				t.Errorf("%s is gone", other.folders[i].path)
			}
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		t.Run("a group in use", func(t *testing.T) {
			g := makeGroup(t, host, `{}`)
			p := startIn(t, g, "wait")
			if _, err := try(g.Create()); !errors.Is(err, ErrInUse) {
				t.Errorf("Create over a group with a process: %v, want ErrInUse", err)
			}
			for _, f := range g.folders {
				if !f.alive() {
					t.Errorf("%s was removed", f.path)
				}
			}
			p.Process.Kill()
			p.Wait()
			run(t, g.Create()) // empty, it serves
		})
		t.Run("a frozen group above", func(t *testing.T) {
			above := makeGroup(t, host, `{}`)
			if err := above.Freeze(soon(t)); err != nil {
				t.Fatal(err)
			}
			g := below2(t, host, above)
			if _, err := try(g.Create()); !errors.Is(err, ErrFrozen) {
				t.Errorf("Create below a frozen group: %v, want ErrFrozen", err)
			}
			if err := above.Thaw(soon(t)); err != nil {
				t.Fatal(err)
			}
			run(t, g.Create())
			if err := above.Freeze(soon(t)); err != nil {
				t.Fatal(err)
			}
			if err := g.Thaw(soon(t)); !errors.Is(err, ErrFrozen) {
				t.Errorf("Thaw below a frozen group: %v, want ErrFrozen", err)
			}
			if err := above.Thaw(soon(t)); err != nil {
				t.Fatal(err)
			}
		})
		t.Run("a name of the kernel's", func(t *testing.T) {
			p, err := ParsePath("/cgroup.procs", "")
			if err != nil {
				t.Fatal(err)
			}
			g, err := New(host, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := try(g.Create()); !errors.Is(err, ErrInvalid) {
				t.Errorf("Create of /cgroup.procs: %v, want ErrInvalid", err)
			}
		})
	})
}

// below2 plans a group below another.
func below2(t testing.TB, host Host, above *Group) *Group {
	t.Helper()
	f := above.folders[0]
	p, err := ParsePath(strings.TrimPrefix(f.path, f.Mount)+"/below", "")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(host, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestJoinFiles has a process of one thread move itself, through files that its parent opened.
func TestJoinFiles(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		cmd := exec.Command("/bin/sh", "-c", "for n in $FDS; do eval \"printf 0 >&$n\" || exit 1; done; cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var numbers []string
		for i, path := range g.JoinFiles(false) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			numbers = append(numbers, strconv.Itoa(3+i))
		}
		cmd.Env = []string{"FDS=" + strings.Join(numbers, " "), "PATH=/bin:/usr/bin"}
		if len(numbers) > 7 { // a shell that knows descriptors of one digit alone
			cmd.Path, cmd.Args[0] = "/bin/bash", "bash"
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has joined", func() bool {
			pids, err := g.Pids()
			return err == nil && slices.Contains(pids, cmd.Process.Pid)
		})
		of, err := host.Of(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is in every hierarchy", func() bool {
			of, err = host.Of(cmd.Process.Pid)
			return err == nil && fmt.Sprint(of.Paths()) == fmt.Sprint(g.Paths())
		})
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestCloneInto starts a process in the group, with no moment outside of it.
func TestCloneInto(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2)
	host := detect(t)
	g := makeGroup(t, host, `{}`)
	fd, err := g.FD()
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	p := start(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}, "wait")
	if pids, err := g.Pids(); err != nil || !slices.Equal(pids, []int{p.Process.Pid}) {
		t.Errorf("Pids() = %v, %v, want %d", pids, err, p.Process.Pid)
	}
	none := makeGroup(t, host, `{"pids":{"limit":0}}`)
	if _, err := none.FD(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("FD() of a group that takes none = %v, want ErrNotSupported", err)
	}
}

func TestJoinRefuses(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		for _, pid := range []int{0, -1} { // the caller itself, and everybody
			if _, err := try(g.Join(&pid)); !errors.Is(err, ErrInvalid) {
				t.Errorf("Join(%d) = %v, want ErrInvalid", pid, err)
			}
		}
		gone := exec.Command("/bin/true")
		if err := gone.Run(); err != nil {
			t.Fatal(err)
		}
		pid := gone.Process.Pid
		if _, err := try(g.Join(&pid)); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Join of a process that is gone = %v, want ESRCH", err)
		}
		if err := g.Remove(soon(t)); err != nil {
			t.Fatal(err)
		}
		own := os.Getpid()
		if _, err := try(g.Join(&own)); !errors.Is(err, ErrGone) {
			t.Errorf("Join of a group that is gone = %v, want ErrGone", err)
		}
	})
}

// TestOpen carries a group over a state file.
func TestOpen(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		made := makeGroup(t, host, `{"pids":{"limit":40}}`)
		state, err := json.Marshal(made.Paths())
		if err != nil {
			t.Fatal(err)
		}
		var paths map[string]string
		if err := json.Unmarshal(state, &paths); err != nil {
			t.Fatal(err)
		}
		g, err := Open(paths)
		if err != nil {
			t.Fatal(err)
		}
		p := startIn(t, g, "wait")
		update(t, g, `{"pids":{"limit":50}}`)
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.Pids == nil || s.Pids.Limit != 50 || s.Pids.Current == 0 {
			t.Errorf("Stats().Pids = %+v", s.Pids)
		}
		if s.CPU == nil || s.Memory == nil || s.CPUSet == nil {
			t.Errorf("Stats() = %+v lacks something", s)
		}
		killed(t, g)
		p.ended(t)
		if err := g.Remove(soon(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for _, paths := range []map[string]string{
		nil, {"": "relative"}, {"": "/"}, {"": "/sys/fs/cgroup/../../etc"}, {"memory": ""}, {"": "/x", "memory": "/x"},
	} {
		if _, err := Open(paths); !errors.Is(err, ErrInvalid) {
			t.Errorf("Open(%v) = %v, want ErrInvalid", paths, err)
		}
	}
}

func TestRootless(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		p := start(t, nobody, "rootless", fmt.Sprintf("/tandem-test-%d-nobody", os.Getpid()))
		p.begin(t)
		if got := p.line(t); got != "true true" {
			t.Errorf("Access and Create are not permitted: %s, want true true", got)
		}
	})
}

func TestDelegate(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2)
	g := makeGroup(t, detect(t), `{}`)
	run(t, g.Delegate(1234, 5678))
	f, _ := g.unified()
	for _, test := range []struct {
		name  string
		given bool
	}{{".", true}, {"cgroup.procs", true}, {"cgroup.subtree_control", true}, {"memory.max", false}, {"cgroup.freeze", false}} {
		var stat unix.Stat_t
		if err := unix.Stat(filepath.Join(f.path, test.name), &stat); err != nil {
			t.Fatal(err)
		}
		if given := stat.Uid == 1234 && stat.Gid == 5678; given != test.given {
			t.Errorf("%s belongs to %d:%d", test.name, stat.Uid, stat.Gid)
		}
	}
}
