package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// version is one of the two interfaces that cgroups have, and its files' names.
type version struct {
	version int
	says    string
	// root is the top folder of the hierarchy that has a controller.
	root func(controller string) (string, error)

	memoryLimit, swapLimit, memoryEvents string
	pidsLimit, pidsEvents                string
	cpuLimit                             []setting
	cpuThrottled                         string  // of cpu.stat
	freeze, frozen, thaw                 setting // frozen is the file that tells, and what it says
}

// setting is a file and what is written to it.
type setting struct{ file, value string }

var version1 = version{
	version: 1,
	says:    "a hierarchy for each controller, a process can be in another place in each",

	memoryLimit: "memory.limit_in_bytes", swapLimit: "memory.memsw.limit_in_bytes", memoryEvents: "memory.oom_control",
	pidsLimit: "pids.max", pidsEvents: "pids.events",
	cpuLimit:     []setting{{"cpu.cfs_period_us", cpuPeriod}, {"cpu.cfs_quota_us", cpuQuota}},
	cpuThrottled: "throttled_time",
	freeze:       setting{"freezer.state", "FROZEN"}, frozen: setting{"freezer.state", "FROZEN"},
	thaw: setting{"freezer.state", "THAWED"},
}

var version2 = version{
	version: 2,
	says:    "one hierarchy, and each folder says which controllers the folders in it have",

	memoryLimit: "memory.max", swapLimit: "memory.swap.max", memoryEvents: "memory.events",
	pidsLimit: "pids.max", pidsEvents: "pids.events",
	cpuLimit:     []setting{{"cpu.max", cpuQuota + " " + cpuPeriod}},
	cpuThrottled: "throttled_usec",
	freeze:       setting{"cgroup.freeze", "1"}, frozen: setting{"cgroup.events", "frozen 1"},
	thaw: setting{"cgroup.freeze", "0"},
}

// controllers are those that the lesson is about. The freezer is one only in
// version 1; in 2 each group has it.
var controllers = []string{"memory", "pids", "cpu"}

// detect takes version 2 if it has the controllers: each is in one hierarchy at a
// time, and a machine may have both versions mounted.
func detect() (*version, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return nil, err
	}
	if len(mounts) > 0 {
		top := mounts[0].Mountpoint
		has, err := os.ReadFile(filepath.Join(top, "cgroup.controllers"))
		if err != nil {
			return nil, err
		}
		if hasAll(strings.Fields(string(has))) {
			v := version2
			v.root = func(string) (string, error) { return top, nil }
			return &v, enable(top)
		}
	}
	v := version1
	v.root = rootOf1
	for _, c := range append(controllers, "freezer") {
		if _, err := v.root(c); err != nil {
			return nil, err
		}
	}
	return &v, nil
}

func hasAll(list []string) bool {
	return !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(list, c) })
}

// enable gives the folders in a group of version 2 their controllers' files. What
// is on stays on, as others may rely on it by then.
func enable(top string) error {
	on := "+" + strings.Join(controllers, " +")
	if err := os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte(on), 0); err != nil {
		return fmt.Errorf("enable %s: %w", on, err)
	}
	return nil
}

func rootOf1(controller string) (string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if slices.Contains(strings.Split(m.VFSOptions, ","), controller) {
			return m.Mountpoint, nil
		}
	}
	return "", errors.New("neither version of cgroups has the controller " + controller)
}
