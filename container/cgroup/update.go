package cgroup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/plan"
)

// Update changes the limits that r names and leaves the others as they are. A list of devices replaces the one before.
// There is no undoing: of the old values some may be out of reach by then, a limit of memory that is used, for one.
func (g *Group) Update(r *specs.LinuxResources) ([]plan.Step, error) {
	live, err := g.live()
	if err != nil {
		return nil, fmt.Errorf("cgroup: update: %w", err)
	}
	set, err := resolve(live.host(), r)
	if err != nil {
		return nil, err
	}
	if f, ok := live.with("devices"); ok && set.devices != nil {
		text, err := readFile(f.file("devices.list"))
		if err != nil {
			return nil, fmt.Errorf("cgroup: update: %w", err)
		}
		old, err := parseDeviceList([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("cgroup: update: %s: %w", f.path, err)
		}
		set.list = slices.DeleteFunc(set.list, func(s setting) bool { return s.controller == "devices" })
		set.list = append(set.list, set.devices.since(old)...)
	}
	g.mu.Lock()
	g.warnings = append(g.warnings, set.warnings...)
	g.mu.Unlock()
	return set.steps(live), nil
}

// live is the group with the controllers that it has been handed down in version 2.
func (g *Group) live() (*Group, error) {
	live := &Group{folders: slices.Clone(g.folders)}
	for i, f := range live.folders {
		if f.Version == 2 {
			list, err := readFile(f.file("cgroup.controllers"))
			if err != nil {
				return nil, err
			}
			live.folders[i].Controllers = strings.Fields(list)
		}
	}
	return live, nil
}

// host is a host that has what the group has.
func (g *Group) host() Host {
	h := Host{UserNS: userns.RunningInUserNS()}
	for _, f := range g.folders {
		h.Hierarchies = append(h.Hierarchies, f.Hierarchy)
	}
	return h
}
