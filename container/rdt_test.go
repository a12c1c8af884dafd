package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/resctrl"
)

func TestIntelRdtNeedsAFileSystem(t *testing.T) {
	if _, err := resctrl.Find(); err == nil {
		return // this machine has it
	}
	b := newBench(t)
	s := b.spec("true")
	s.Config.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold"}
	_, err := b.Create(t.Context(), s)
	if !errors.Is(err, resctrl.ErrNotSupported) || !strings.Contains(err.Error(), "linux.intelRdt") || !strings.Contains(err.Error(), "resctrl") {
		t.Errorf("without a resctrl file system: %v", err)
	}
}

// A class of the container's own, on a folder in the place of the file system, which this machine may not have.
func TestIntelRdt(t *testing.T) {
	b := newBench(t)
	b.resctrl = t.TempDir()
	if err := os.MkdirAll(filepath.Join(b.resctrl, "info"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := b.spec("exec sleep 1000")
	s.Config.Linux.IntelRdt = &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f"}
	class := filepath.Join(b.resctrl, s.ID)
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(class, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	c, err := b.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got := read("tasks"); got != fmt.Sprint(c.state.Init.PID) {
		t.Errorf("tasks %q, want process %d", got, c.state.Init.PID)
	}
	if got := read("schemata"); got != "L3:0=f\n" {
		t.Errorf("schemata %q", got)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := *s.Config.Process
	own.Args = []string{"true"}
	p, err := c.Exec(t.Context(), &ExecSpec{Process: &own})
	if err != nil {
		t.Fatal(err)
	}
	if got := read("tasks"); got == fmt.Sprint(c.state.Init.PID) {
		t.Error("a process started later was not put into the class")
	}
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
	p.Release()
	if err := c.UpdateIntelRdt("L3:0=3", "MB:0=20"); err != nil || read("schemata") != "L3:0=3\nMB:0=20\n" {
		t.Errorf("update: %v, schemata %q", err, read("schemata"))
	}
	if err := c.UpdateIntelRdt("nonsense"); !errors.Is(err, resctrl.ErrInvalid) {
		t.Errorf("update with nonsense: %v", err)
	}
	for _, name := range []string{"tasks", "schemata"} { // which rmdir of resctrl's does by itself
		if err := os.Remove(filepath.Join(class, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Delete(t.Context(), true); err != nil {
		t.Error(err)
	}
	reap(c.state.Init.PID)
	if _, err := os.Stat(class); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the class is left: %v", err)
	}
	plain := b.running(nil)
	if err := plain.UpdateIntelRdt("L3:0=f"); !errors.Is(err, ErrNotSupported) {
		t.Errorf("update of a container without a class: %v", err)
	}
}
