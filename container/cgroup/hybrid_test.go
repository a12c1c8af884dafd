package cgroup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"tandem/internal/testenv"
)

// TestHybridLife takes a group through its life that is in both versions at once. On a host that has version 1 alone it
// can only be refused.
func TestHybridLife(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup1)
	host := detect(t)
	const resources = `{"pids":{"limit":40},"unified":{"cgroup.max.depth":"2"}}`
	if host.Mode() != Hybrid {
		path, err := ParsePath("/x", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(host, path, fromJSON(t, resources)); !errors.Is(err, ErrNotSupported) {
			t.Errorf("New = %v, want ErrNotSupported", err)
		}
		return
	}
	g := makeGroup(t, host, resources)
	fd, err := g.FD()
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	p := start(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}, "wait")
	pid := p.Process.Pid
	run(t, g.Join(&pid)) // it is in version 2 already
	of, err := host.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	for key, path := range g.Paths() {
		if key != "" && of.Paths()[key] != path {
			t.Errorf("the process is in %s of %q, want %s", of.Paths()[key], key, path)
		}
	}
	if err := g.Freeze(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := g.Thaw(soon(t)); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.AllPids(); err != nil || !slices.Equal(pids, []int{pid}) {
		t.Errorf("AllPids() = %v, %v, want %d", pids, err, pid)
	}
	s, err := g.Stats()
	if err != nil || s.Pids == nil || s.Pids.Limit != 40 || s.CPU == nil {
		t.Errorf("Stats() = %+v, %v", s, err)
	}
	killed(t, g)
	if signal := p.ended(t); signal != syscall.SIGKILL {
		t.Errorf("it ended by %v", signal)
	}
	if err := g.Remove(soon(t)); err != nil {
		t.Error(err)
	}
	for _, f := range g.folders {
		if f.alive() {
			t.Errorf("%s is left", f.path)
		}
	}
}

func TestAccess(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		if err := newGroup(t, host, `{}`).Access(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	g := &Group{folders: []folder{{Hierarchy{Mount: dir + "/none"}, dir + "/none/x/y"}}}
	if err := g.Access(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Access below a mount that is gone = %v, want ErrNotExist", err)
	}
}

// TestStrings holds what people and state files read.
func TestStrings(t *testing.T) {
	for text, want := range map[string]string{"/a//b/": "/a/b", "a/./b": "a/b"} {
		if p, err := ParsePath(text, ""); err != nil || p.String() != want {
			t.Errorf("ParsePath(%q) = %s, %v, want %s", text, p, err, want)
		}
	}
	err := hostHybrid.missing("cpu", "linux.resources.cpu.shares")
	want := "cgroup: linux.resources.cpu.shares: controller cpu: switched off when the kernel was started (cgroup_disable=)"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if got, want := invalid("f", 3, "too %s", "large").Error(), "cgroup: f 3: invalid: too large"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	numbers := map[DeviceNumber]int{{8, 16}: 1}
	text, err := json.Marshal(numbers)
	if err != nil || string(text) != `{"8:16":1}` {
		t.Errorf("%s, %v", text, err)
	}
	var again map[DeviceNumber]int
	if err := json.Unmarshal(text, &again); err != nil || fmt.Sprint(again) != fmt.Sprint(numbers) {
		t.Errorf("%v, %v", again, err)
	}
	if json.Unmarshal([]byte(`{"8":1}`), &again) == nil {
		t.Error(`"8" reads as the number of a device`)
	}
}
