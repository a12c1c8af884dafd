package resctrl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/plan"
)

// fakeRoot is a folder with what a resctrl file system has at its top. In a folder of its kind the kernel would put files into
// a new class; here the steps' own writes make them.
func fakeRoot(t *testing.T, classes ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, class := range append(classes, ".") {
		write(t, filepath.Join(root, class, "tasks"), "")
		write(t, filepath.Join(root, class, "schemata"), "    L3:0=fff;1=0ff\n    MB:0= 20;1= 70\n")
		if err := os.Mkdir(filepath.Join(root, class, "mon_groups"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "info/last_cmd_status"), "ok\n")
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func perform(t *testing.T, root string, r specs.LinuxIntelRdt) (*Group, *plan.Done, error) {
	t.Helper()
	g, err := New(root, "box", &r)
	if err != nil {
		t.Fatal(err)
	}
	pid := 4321
	p := plan.New("test")
	p.Add(g.Steps(&pid)...)
	done, err := p.Run(t.Context())
	return g, done, err
}

// The rules of config-linux.md, IntelRdt, one after the other.
func TestOwnClass(t *testing.T) {
	root := fakeRoot(t)
	g, done, err := perform(t, root, specs.LinuxIntelRdt{
		MemBwSchema: "MB:0=10", L3CacheSchema: "L3:0=f;1=f", Schemata: []string{"L2:0=1", "L2:1=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, root+"/box/schemata"), "L3:0=f;1=f\nMB:0=10\nL2:0=1\nL2:1=1\n"; got != want {
		t.Errorf("schemata %q, want %q", got, want)
	}
	if got := read(t, root+"/box/tasks"); got != "4321" {
		t.Errorf("tasks %q", got)
	}
	if got := g.Owned(); !slices.Equal(got, []string{root + "/box"}) {
		t.Errorf("Owned = %q", got)
	}
	clear(t, root+"/box")
	if err := done.Undo(); err != nil || there(root+"/box") {
		t.Errorf("undo: %v", err)
	}
	if err := os.Mkdir(root+"/box", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := perform(t, root, specs.LinuxIntelRdt{}); !errors.Is(err, fs.ErrExist) || !there(root+"/box") {
		t.Errorf("a class of that name that is somebody else's: %v", err)
	}
}

// clear removes the files of a class, which rmdir(2) of resctrl's does by itself.
func clear(t *testing.T, class string) {
	t.Helper()
	for _, name := range []string{"tasks", "schemata"} {
		if err := os.Remove(filepath.Join(class, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestSharedClass(t *testing.T) {
	root := fakeRoot(t, "gold")
	before := read(t, root+"/gold/schemata")
	for _, test := range []struct {
		name string
		is   specs.LinuxIntelRdt
		want string // of schemata
		says string // the error
	}{
		{"as it is", specs.LinuxIntelRdt{ClosID: "gold"}, before, ""},
		{"not there", specs.LinuxIntelRdt{ClosID: "tin"}, before, "linux.intelRdt.closID"},
		{"as wanted", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:1=FF;0=0fff"}, "L3:1=FF;0=0fff\n", ""},
		{"another cache", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=ff0"}, before, `L3 of cache 0 is "fff", not "ff0"`},
		{"a cache that is not there", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:2=1"}, before, `L3 of cache 2 is ""`},
		{"another bandwidth", specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:0=30"}, before, "MB of cache 0"},
		{"no such line", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3CODE:0=1"}, before, "no line that begins with L3CODE"},
		{"what is written over it", specs.LinuxIntelRdt{ClosID: "gold", Schemata: []string{"L3:0=1"}}, "L3:0=1\n", ""},
	} {
		write(t, root+"/gold/schemata", before)
		write(t, root+"/gold/tasks", "")
		g, done, err := perform(t, root, test.is)
		if got := read(t, root+"/gold/schemata"); got != test.want {
			t.Errorf("%s: schemata %q, want %q", test.name, got, test.want)
		}
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v, want %q", test.name, err, test.says)
			}
			continue
		}
		if err != nil || read(t, root+"/gold/tasks") != "4321" {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if err := done.Undo(); err != nil || !there(root+"/gold") || len(g.Owned()) > 0 {
			t.Errorf("%s: a class with a name is to stay: %v, %q", test.name, err, g.Owned())
		}
	}
	g, done, err := perform(t, root, specs.LinuxIntelRdt{ClosID: "new", Schemata: []string{"L3:0=1"}})
	if err != nil || !there(root+"/new/tasks") || len(g.Owned()) > 0 {
		t.Fatalf("one that is made: %v, %q", err, g.Owned())
	}
	clear(t, root+"/new")
	if err := done.Undo(); err != nil || there(root+"/new") {
		t.Errorf("undone: %v", err)
	}
	if _, _, err := perform(t, root, specs.LinuxIntelRdt{ClosID: "/"}); err != nil || read(t, root+"/tasks") != "4321" {
		t.Errorf("the default class: %v", err)
	}
}

func TestMonitoring(t *testing.T) {
	root := fakeRoot(t, "gold")
	g, done, err := perform(t, root, specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true})
	if err != nil {
		t.Fatal(err)
	}
	monitor := root + "/gold/mon_groups/box"
	if got := read(t, monitor+"/tasks"); got != "4321" {
		t.Errorf("tasks %q", got)
	}
	if got, want := g.Tasks(), []string{root + "/gold/tasks", monitor + "/tasks"}; !slices.Equal(got, want) {
		t.Errorf("Tasks = %q, want %q: a counter is of a class that the process is in", got, want)
	}
	if got := g.Owned(); !slices.Equal(got, []string{monitor}) {
		t.Errorf("Owned = %q", got)
	}
	clear(t, monitor)
	if err := done.Undo(); err != nil || there(monitor) {
		t.Errorf("undo: %v", err)
	}
	if err := Remove(g.Owned()); err != nil {
		t.Errorf("Remove of what is gone: %v", err)
	}
}

// What the kernel refuses it explains in a file of its own.
func TestLastCommandStatus(t *testing.T) {
	root := fakeRoot(t)
	write(t, root+"/info/last_cmd_status", "mask f0f has non-consecutive 1-bits\n")
	err := Write(root+"/nosuch/schemata", "L3:0=f0f\n")
	if err == nil || !strings.Contains(err.Error(), "non-consecutive") {
		t.Errorf("Write: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		is   specs.LinuxIntelRdt
		says string
	}{
		{specs.LinuxIntelRdt{ClosID: ".."}, "closID"},
		{specs.LinuxIntelRdt{ClosID: "a/b"}, "closID"},
		{specs.LinuxIntelRdt{ClosID: "info"}, "kernel's own"},
		{specs.LinuxIntelRdt{ClosID: strings.Repeat("x", 256)}, "256 bytes"},
		{specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f\nMB:0=10"}, "l3CacheSchema"},
		{specs.LinuxIntelRdt{L3CacheSchema: "L3"}, "l3CacheSchema"},
		{specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f;0=f"}, "twice"},
		{specs.LinuxIntelRdt{MemBwSchema: "L3:0=f"}, "memBwSchema"},
		{specs.LinuxIntelRdt{MemBwSchema: "MB:0"}, "memBwSchema"},
		{specs.LinuxIntelRdt{Schemata: []string{"L3:0=f", "a\nb"}}, "schemata[1]"},
	} {
		if _, err := New("/r", "box", &test.is); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want %q", test.is, err, test.says)
		}
	}
}

func TestFind(t *testing.T) {
	const lines = `22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 22 0:26 /gold /mnt/part rw - resctrl resctrl rw
31 22 0:26 / /sys/fs/res\040ctrl rw,relatime shared:9 - resctrl resctrl rw,cdp
`
	if got, err := find(strings.NewReader(lines)); got != "/sys/fs/res ctrl" || err != nil {
		t.Errorf("find = %q, %v", got, err)
	}
	if _, err := find(strings.NewReader(lines[:60])); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "resctrl") {
		t.Errorf("find without one: %v", err)
	}
}

func FuzzSchema(f *testing.F) {
	for _, seed := range []string{"L3:0=fff;1=0ff", "    MB:0= 20;1= 70", "L3CODE:0=0x7f", "L3:", ":0=1", "L3:0=;1", "L3:00=00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parseSchema(line)
		if err != nil {
			return
		}
		if len(s.parts) == 0 || s.resource == "" {
			t.Errorf("%q is %+v", line, s)
		}
		if err := compare([]string{line}, line); err != nil {
			t.Errorf("%q is not as itself: %v", line, err)
		}
	})
}
