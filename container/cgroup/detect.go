package cgroup

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/moby/sys/userns"

	"tandem/internal/kernfile"
)

// Detect reads what this host has from /proc/self/mountinfo, /proc/self/cgroup and /proc/cgroups.
func Detect() (Host, error) {
	mounts, err := kernfile.Read("/proc/self/mountinfo")
	if err != nil {
		return Host{}, fmt.Errorf("cgroup: detect: %w", err)
	}
	own, err := kernfile.Read("/proc/self/cgroup")
	if err != nil {
		return Host{}, fmt.Errorf("cgroup: detect: %w", err)
	}
	host, err := parseHost(bytes.NewReader(mounts), own)
	if err != nil {
		return Host{}, fmt.Errorf("cgroup: detect: %w", err)
	}
	for i, h := range host.Hierarchies {
		if h.Version == 2 {
			list, err := kernfile.Read(filepath.Join(h.Mount, "cgroup.controllers"))
			if err != nil {
				return Host{}, fmt.Errorf("cgroup: detect: %w", err)
			}
			host.Hierarchies[i].Controllers = strings.Fields(string(list))
		}
	}
	// Only errors are made of it, and a kernel without version 1 may lack the file.
	if list, err := kernfile.Read("/proc/cgroups"); err == nil {
		host.Kernel = parseSubsystems(list)
	}
	host.UserNS = userns.RunningInUserNS()
	return host, nil
}

// parseHost joins /proc/self/mountinfo, which says where hierarchies are mounted, and /proc/self/cgroup, which says
// where in each the caller is.
func parseHost(mounts io.Reader, own []byte) (Host, error) {
	groups, err := parseOwn(own)
	if err != nil {
		return Host{}, err
	}
	infos, err := mountinfo.GetMountsFromReader(mounts, func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "cgroup" && m.FSType != "cgroup2", false
	})
	if err != nil {
		return Host{}, fmt.Errorf("mountinfo: %w", err)
	}
	// A hierarchy may be mounted more than once, and parts of it may be bound elsewhere. The mount that shows most of
	// it is used: the shortest root; of those the first, as that is where everybody looks.
	slices.SortStableFunc(infos, func(a, b *mountinfo.Info) int { return len(a.Root) - len(b.Root) })
	var host Host
	found := make(map[string]bool)
	for _, m := range infos {
		h, ok := hierarchyOf(m)
		if !ok || !filepath.IsAbs(h.Mount) {
			continue
		}
		id := fmt.Sprint(h.Version, h.keys())
		if found[id] {
			continue
		}
		found[id] = true
		h.Self = below(m.Root, groups[h.keys()[0]])
		host.Hierarchies = append(host.Hierarchies, h)
	}
	slices.SortStableFunc(host.Hierarchies, func(a, b Hierarchy) int { return strings.Compare(a.Mount, b.Mount) })
	return host, nil
}

// hierarchyOf reads a mount's options: of version 1, they name its controllers.
func hierarchyOf(m *mountinfo.Info) (Hierarchy, bool) {
	h := Hierarchy{Version: 2, Mount: m.Mountpoint, Root: m.Root}
	if m.FSType == "cgroup2" {
		return h, true
	}
	h.Version = 1
	for option := range strings.SplitSeq(m.VFSOptions, ",") {
		if name, ok := strings.CutPrefix(option, "name="); ok {
			h.Name = name
		} else if !slices.Contains(notControllers, option) && option != "" && !strings.Contains(option, "=") {
			h.Controllers = append(h.Controllers, option)
		}
	}
	return h, h.Name != "" || len(h.Controllers) > 0
}

// notControllers are the other mount options of version 1 (cgroup1_show_options in kernel/cgroup/cgroup-v1.c), and
// those that every file system has.
var notControllers = []string{
	"rw", "ro", "noprefix", "xattr", "cpuset_v2_mode", "favordynmods", "clone_children", "seclabel",
}

// below is a group as a path below a mount of the subtree at root. Both are as the kernel prints them, which begins
// with /.. for what lies outside of the reader's cgroup namespace.
func below(root, group string) string {
	if root == "/" {
		root = ""
	}
	rest, ok := strings.CutPrefix(group, root)
	if !ok || !strings.HasPrefix(rest, "/") || strings.Contains(rest+"/", "/../") {
		return "/" // the mount itself, or out of sight
	}
	return path.Clean(rest)
}

// parseOwn reads /proc/PID/cgroup, lines of "hierarchy-ID:controller-list:cgroup-path" (cgroups(7)), into the path for
// each key: a controller, "name=systemd", or "" for version 2.
func parseOwn(text []byte) (map[string]string, error) {
	groups := make(map[string]string)
	for line := range bytes.Lines(text) {
		s := strings.TrimSuffix(string(line), "\n")
		if s == "" {
			continue
		}
		fields := strings.SplitN(s, ":", 3) // the path may hold colons
		if len(fields) != 3 || !strings.HasPrefix(fields[2], "/") {
			return nil, fmt.Errorf("/proc/self/cgroup: malformed line %q", s)
		}
		// What a group that was removed ends in is no part of its name.
		group := strings.TrimSuffix(fields[2], " (deleted)")
		for controller := range strings.SplitSeq(fields[1], ",") {
			groups[controller] = group
		}
	}
	return groups, nil
}

// parseSubsystems reads /proc/cgroups: name, hierarchy, number of groups, enabled.
func parseSubsystems(text []byte) map[string]bool {
	known := make(map[string]bool)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 4 && !strings.HasPrefix(fields[0], "#") {
			known[fields[0]] = fields[3] == "1"
		}
	}
	return known
}
