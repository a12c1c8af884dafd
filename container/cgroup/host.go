package cgroup

import (
	"slices"
)

// Mode is how a host has its hierarchies.
type Mode string

// The three ways that are found.
const (
	// V1 has each controller in a hierarchy of version 1.
	V1 Mode = "v1"
	// Hybrid is V1, and a hierarchy of version 2 beside it with the controllers that are left, if any.
	Hybrid Mode = "hybrid"
	// V2 has one hierarchy of version 2 for all.
	V2 Mode = "v2"
)

// Hierarchy is one mounted tree of groups.
type Hierarchy struct {
	// Version is 1 or 2.
	Version int
	// Mount is the folder on which it is mounted.
	Mount string
	// Root is the group that Mount shows: "/", or one below it if a part of the hierarchy is bound there. Empty is "/".
	Root string
	// Controllers are those attached to it. In version 2, those that its topmost group offers.
	Controllers []string
	// Name is that of a hierarchy of version 1 with a name in place of controllers: "systemd".
	Name string
	// Self is the caller's own group as a path below Mount, or "/" where it lies outside of what is mounted.
	Self string
}

// keys are the names by which runtimes save the path of a group in this hierarchy, one for each controller.
func (h Hierarchy) keys() []string {
	switch {
	case h.Version == 2:
		return []string{""}
	case h.Name != "":
		return []string{"name=" + h.Name}
	}
	return h.Controllers
}

// Host is what there is to make groups in. Detect fills it in for this host; one made by hand serves to plan and
// print for another.
type Host struct {
	Hierarchies []Hierarchy
	// Kernel holds the controllers that the kernel was built with, true for those that are not switched off at boot.
	// It only makes errors clearer, and may be nil.
	Kernel map[string]bool
	// UserNS is whether the caller is root only of a user namespace. Rules for devices cannot be set in one, and
	// need not be: the kernel lets nobody make a device node there.
	UserNS bool
}

// Mode tells which version the host's controllers are in. A host without any cgroups is V1.
func (h Host) Mode() Mode {
	two := slices.ContainsFunc(h.Hierarchies, func(x Hierarchy) bool { return x.Version == 2 })
	one := slices.ContainsFunc(h.Hierarchies, func(x Hierarchy) bool {
		// A stray version 1 hierarchy beside version 2 (net_cls, for some VPN) does not make a host hybrid.
		return x.Version == 1 && slices.ContainsFunc(x.Controllers, isLimit)
	})
	switch {
	case two && one:
		return Hybrid
	case two:
		return V2
	}
	return V1
}

// isLimit tells the controllers that exist in both versions, and so tell which version a host uses.
func isLimit(controller string) bool {
	return slices.Contains([]string{"cpu", "cpuset", "memory", "pids", "io", "blkio"}, controller)
}

// Find returns the hierarchy that a controller is attached to, by its name in that version: "blkio" in version 1 is
// "io" in version 2.
func (h Host) Find(controller string) (Hierarchy, bool) {
	i := slices.IndexFunc(h.Hierarchies, func(x Hierarchy) bool { return slices.Contains(x.Controllers, controller) })
	if i < 0 {
		return Hierarchy{}, false
	}
	return h.Hierarchies[i], true
}

// unified is the hierarchy of version 2.
func (h Host) unified() (Hierarchy, bool) {
	i := slices.IndexFunc(h.Hierarchies, func(x Hierarchy) bool { return x.Version == 2 })
	if i < 0 {
		return Hierarchy{}, false
	}
	return h.Hierarchies[i], true
}

// missing explains why a controller cannot be used.
func (h Host) missing(controller, field string) error {
	e := &MissingError{Controller: controller, Field: field, Reason: "no cgroup hierarchy that is mounted here has it"}
	if on, known := h.Kernel[controller]; known && !on {
		e.Reason = "switched off when the kernel was started (cgroup_disable=)"
	} else if !known && h.Kernel != nil {
		e.Reason = "this kernel was built without it"
	}
	return e
}
