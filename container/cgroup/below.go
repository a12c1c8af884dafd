package cgroup

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Below is the group that lies below this one at paths, which are keyed as Paths are; one with the key "" holds for every
// hierarchy that has none of its own. It is what a container has made in its group, and has to be there. No path leads
// out: ".." is ErrInvalid. A key that the group has no hierarchy for is ErrNotSupported.
func (g *Group) Below(paths map[string]string) (*Group, error) {
	const field = "path of a group below the container's"
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		if err := checkComponents(field, paths[key]); err != nil {
			return nil, err
		}
		if key != "" && !slices.ContainsFunc(g.folders, func(f folder) bool { return slices.Contains(f.keys(), key) }) {
			return nil, unsupported(field, fmt.Sprintf("%q", paths[key]), "the container has no group of a controller %q", key)
		}
	}
	out := &Group{}
	for _, f := range g.folders {
		sub, chosen := paths[""], ""
		for _, key := range f.keys() {
			path, ok := paths[key]
			if !ok || key == "" {
				continue
			}
			if chosen != "" && filepath.Clean(path) != filepath.Clean(sub) {
				return nil, invalid(field, fmt.Sprintf("%q", path), "controllers %s and %s share a hierarchy, and %[1]s is to be in %[3]q",
					chosen, key, sub)
			}
			sub, chosen = path, key
		}
		f.path = filepath.Join(f.path, sub)
		out.folders = append(out.folders, f)
	}
	return out, nil
}

// Divided tells of a group that is of version 2 alone, and hands controllers down to groups below it. It takes no process any
// more, which has to be put into one of those (cgroup-v2.rst, "No Internal Process Constraint").
func (g *Group) Divided() bool {
	f, ok := g.unified()
	if !ok || len(g.folders) > 1 {
		return false
	}
	text, err := readFile(f.file(subtreeControl))
	return err == nil && strings.TrimSpace(text) != ""
}
