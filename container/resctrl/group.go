package resctrl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Errors that callers tell apart, with errors.Is.
var (
	// ErrNotSupported is a host without a mounted resctrl file system.
	ErrNotSupported = errors.New("not supported")
	// ErrInvalid is what the specification does not allow.
	ErrInvalid = errors.New("invalid")
)

const field = "linux.intelRdt"

func invalid(name string, value any, why string) error {
	return fmt.Errorf("resctrl: %s.%s %q: %w: %s", field, name, value, ErrInvalid, why)
}

// Find tells where the resctrl file system is mounted. ErrNotSupported is nowhere.
func Find() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("resctrl: find its mount: %w", err)
	}
	defer f.Close()
	return find(f)
}

// find reads mountinfo (proc_pid_mountinfo(5)): the mount point is the fifth field, the type the first behind the dash.
func find(mountinfo io.Reader) (string, error) {
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20) // an overlay's options may be long
	for lines.Scan() {
		mount, rest, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if ok && strings.HasPrefix(rest, "resctrl ") && len(fields) >= 5 && fields[3] == "/" {
			return unescape.Replace(fields[4]), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("resctrl: find its mount: %w", err)
	}
	return "", fmt.Errorf("resctrl: %s: %w: no resctrl file system is mounted: mount -t resctrl resctrl /sys/fs/resctrl, "+
		"where the processor and the kernel have it", field, ErrNotSupported)
}

// unescape is the reverse of what the kernel does to white space in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Group is the class of a container, before or while there is one.
type Group struct {
	path    string // the class's folder
	monitor string // the folder that counts the container by itself, or empty
	own     bool   // the class is the container's, and goes with it
	checked []string
	lines   []string // for schemata, the checked ones first

	made bool // a class that stays, by this Group's steps
}

// New plans a container's class in the file system at root. Every value is checked, and nothing is touched.
func New(root, id string, r *specs.LinuxIntelRdt) (*Group, error) {
	g := &Group{path: root, own: r.ClosID == ""}
	name := r.ClosID
	if g.own {
		name = id
	}
	if name != "/" {
		if err := checkName(name); err != nil {
			return nil, invalid("closID", name, err.Error())
		}
		g.path = filepath.Join(root, name)
	}
	if r.EnableMonitoring {
		if err := checkName(id); err != nil {
			return nil, invalid("enableMonitoring for the container", id, err.Error())
		}
		g.monitor = filepath.Join(g.path, "mon_groups", id)
	}
	var err error
	g.checked, g.lines, err = schemata(r)
	return g, err
}

// checkName takes what can be a folder in the file system, and is none that the kernel has put there.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\n\x00"):
		return errors.New("not the name of a folder")
	case len(name) > 255:
		return fmt.Errorf("a name of %d bytes, at most 255", len(name))
	case slices.Contains([]string{"info", "mon_groups", "mon_data"}, name):
		return errors.New("the kernel's own folder")
	}
	return nil
}

// schemata are the lines to be written, in the specification's order. Those of l3CacheSchema and memBwSchema are to be
// compared with a class that exists.
func schemata(r *specs.LinuxIntelRdt) (checked, lines []string, err error) {
	for _, s := range []struct{ name, value string }{{"l3CacheSchema", r.L3CacheSchema}, {"memBwSchema", r.MemBwSchema}} {
		if s.value == "" {
			continue
		}
		if s.name == "memBwSchema" && !strings.HasPrefix(s.value, "MB:") {
			return nil, nil, invalid(s.name, s.value, `it does not begin with "MB:"`)
		}
		if _, err := parseSchema(s.value); err != nil {
			return nil, nil, invalid(s.name, s.value, err.Error())
		}
		checked = append(checked, s.value)
	}
	lines = slices.Clone(checked)
	for i, s := range r.Schemata {
		if s == "" || strings.ContainsAny(s, "\n\x00") {
			return nil, nil, invalid(fmt.Sprintf("schemata[%d]", i), s, "want one line")
		}
		lines = append(lines, s)
	}
	return checked, lines, nil
}

// Path is the class's folder.
func (g *Group) Path() string { return g.path }

// Tasks are the files that a process's number is written to, in this order.
func (g *Group) Tasks() []string { return tasks(g.path, g.monitor) }

func tasks(path, monitor string) []string {
	files := []string{filepath.Join(path, "tasks")}
	if monitor != "" {
		files = append(files, filepath.Join(monitor, "tasks"))
	}
	return files
}

// Owned are the folders that go when the container goes, in this order.
func (g *Group) Owned() []string {
	var owned []string
	if g.monitor != "" {
		owned = append(owned, g.monitor)
	}
	if g.own {
		owned = append(owned, g.path)
	}
	return owned
}

// Remove removes folders that Owned gave. Those that are gone are no error.
func Remove(owned []string) error {
	var errs []error
	for _, path := range owned {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("resctrl: rmdir %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}
