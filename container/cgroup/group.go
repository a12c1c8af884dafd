package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Group is a control group: one folder in each of a host's hierarchies that it uses. Its methods may be called at the
// same time, as far as what they ask of the kernel makes sense together.
type Group struct {
	folders  []folder
	settings settings

	mu       sync.Mutex
	warnings []string
}

// folder is the group in one hierarchy.
type folder struct {
	Hierarchy
	path string // absolute, below Mount
}

func (f folder) file(name string) string { return filepath.Join(f.path, name) }

// New plans a group. Nothing is touched: every value of r is checked, which may be nil for no limits. A list of
// devices, if there is one, is all that the container may use; without one nothing is refused, see DefaultDevices.
//
// The group has a folder in every version 1 hierarchy with controllers, and in systemd's, so that whatever looks for
// the container by any of them (or asks for its statistics) finds it. It has one in the version 2 hierarchy if that is
// the host's only one, or if a limit is to be had there alone.
func New(h Host, p Path, r *specs.LinuxResources) (*Group, error) {
	if p.clean == "" {
		return nil, errors.New("cgroup: the zero Path is of no group")
	}
	set, err := resolve(h, r)
	if err != nil {
		return nil, err
	}
	g := &Group{settings: set, warnings: set.warnings}
	mode := h.Mode()
	for _, x := range h.Hierarchies {
		wanted := slices.ContainsFunc(set.list, func(s setting) bool { return s.in(x) }) || set.program(x)
		always := x.Version == 2
		if mode != V2 {
			always = x.Version == 1 && (x.Name == "" || x.Name == "systemd")
		}
		if always || wanted {
			g.folders = append(g.folders, folder{x, filepath.Join(x.Mount, p.in(x))})
		}
	}
	if len(g.folders) == 0 {
		return nil, fmt.Errorf("cgroup: make group %s: no cgroup hierarchy is mounted: %w", p, ErrNotSupported)
	}
	return g, nil
}

// Open takes up a group that exists, from what Paths gave when it was made.
func Open(paths map[string]string) (*Group, error) {
	byPath := make(map[string]*Hierarchy)
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		path := paths[key]
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return nil, fmt.Errorf("cgroup: open group: %q at %q: %w: not a clean absolute path", key, path, ErrInvalid)
		}
		h := byPath[path]
		if h == nil {
			h = &Hierarchy{Version: 1}
			byPath[path] = h
		}
		name, named := strings.CutPrefix(key, "name=")
		switch {
		case key == "":
			h.Version = 2
		case named:
			h.Name = name
		default:
			h.Controllers = append(h.Controllers, key)
		}
	}
	if len(byPath) == 0 {
		return nil, fmt.Errorf("cgroup: open group: no paths: %w", ErrInvalid)
	}
	g := &Group{}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		if h := byPath[path]; h.Version == 2 && (h.Name != "" || len(h.Controllers) > 0) {
			return nil, fmt.Errorf("cgroup: open group: %q is of both versions: %w", path, ErrInvalid)
		}
		g.folders = append(g.folders, folder{*byPath[path], path})
	}
	return g, nil
}

// Of is the group that a process is in, in the hierarchies that a Group made by New would use. It serves to start a
// process beside another whose group may not take it, since it was divided from within.
func (h Host) Of(pid int) (*Group, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, fmt.Errorf("cgroup: group of process %d: %w", pid, err)
	}
	groups, err := parseOwn(text)
	if err != nil {
		return nil, fmt.Errorf("cgroup: group of process %d: %w", pid, err)
	}
	g := &Group{}
	for _, x := range h.Hierarchies {
		group, ok := groups[x.keys()[0]]
		if !ok || (x.Version == 2) != (h.Mode() == V2) {
			continue
		}
		g.folders = append(g.folders, folder{x, filepath.Join(x.Mount, below(cmp.Or(x.Root, "/"), group))})
	}
	if len(g.folders) == 0 {
		return nil, fmt.Errorf("cgroup: group of process %d: %w: in no hierarchy that is mounted", pid, ErrNotSupported)
	}
	return g, nil
}

// Paths are the group's folders for a state file, keyed as runc keys them: by controller and "name=systemd" in
// version 1, by the empty string in version 2.
func (g *Group) Paths() map[string]string {
	paths := make(map[string]string)
	for _, f := range g.folders {
		for _, key := range f.keys() {
			paths[key] = f.path
		}
	}
	return paths
}

// Warnings are fields that were given and have no effect here, a sentence each.
func (g *Group) Warnings() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.warnings)
}

// Access tells beforehand whether the caller may make the group: ErrNotPermitted if not.
func (g *Group) Access() error {
	for _, f := range g.folders {
		dir := f.path
		for dir != f.Mount && !exists(dir) {
			dir = filepath.Dir(dir)
		}
		// AT_EACCESS: the rights that mkdir will have, not those of the user who called a set-uid program.
		if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("cgroup: make group in %s: %w", dir, denied(err))
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// with returns the version 1 folder of a controller.
func (g *Group) with(controller string) (folder, bool) {
	return g.find(func(f folder) bool { return f.Version == 1 && slices.Contains(f.Controllers, controller) })
}

// unified returns the folder in the version 2 hierarchy.
func (g *Group) unified() (folder, bool) {
	return g.find(func(f folder) bool { return f.Version == 2 })
}

func (g *Group) find(is func(folder) bool) (folder, bool) {
	if i := slices.IndexFunc(g.folders, is); i >= 0 {
		return g.folders[i], true
	}
	return folder{}, false
}
