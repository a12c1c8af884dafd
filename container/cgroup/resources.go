package cgroup

import (
	"errors"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// settings are resources as this host's files take them.
type settings struct {
	list     []setting
	warnings []string
	devices  *Devices
	// byProgram is whether devices are a matter of an eBPF program in the version 2 hierarchy, not of files.
	byProgram bool
}

// program tells whether the program for devices goes into h.
func (s settings) program(h Hierarchy) bool { return h.Version == 2 && s.devices != nil && s.byProgram }

// setting is one value for one file.
type setting struct {
	version    int
	controller string // of that version; "cgroup" for the files that every version 2 group has
	file       string
	value      string
	field      string // that asked for it
	why        string
	// lines is whether the value is several, and the file takes one a write.
	lines bool
	// or are other files that may be there instead, in order; the kernel's version or the I/O scheduler decides.
	or []alternative
	// lacking is why a kernel may not have the file.
	lacking string
	// optional is whether it is all the same if the file is not there.
	optional bool
	// hint explains an error that the kernel's name for it does not.
	hint func(setting, folder, error) error
	// partner is a setting that may have to be written before this one, depending on what the two were: the kernel
	// holds one below the other at all times. A limit and a limit with swap can be raised in one order only, and
	// lowered in the other.
	partner *setting
	// compute makes the value when it is written, from what the group has by then.
	compute func(folder) (string, error)
}

type alternative struct{ file, value string }

func (s setting) in(h Hierarchy) bool {
	return s.version == h.Version && (s.controller == "cgroup" || slices.Contains(h.Controllers, s.controller))
}

// resolver turns the specification's fields into settings. It goes on after an error, so that all are told at once.
type resolver struct {
	host Host
	settings
	errs []error
}

const resources = "linux.resources."

func resolve(h Host, r *specs.LinuxResources) (settings, error) {
	v := &resolver{host: h}
	if r == nil {
		return v.settings, nil
	}
	// The order is that in which they are written: what the first process is charged for comes first.
	v.memory(r.Memory)
	v.cpu(r.CPU)
	v.pids(r.Pids)
	v.io(r.BlockIO)
	v.hugepages(r.HugepageLimits)
	v.network(r.Network)
	v.rdma(r.Rdma)
	v.deviceRules(r.Devices)
	v.unified(r.Unified) // last, so that it has the last word
	return v.settings, errors.Join(v.errs...)
}

// version tells in which version of cgroups a controller is to be had here, by its name in either; 0, and an error, if
// in none. A name may be empty.
func (v *resolver) version(one, two, field string) int {
	for _, h := range v.host.Hierarchies {
		if h.Version == 1 && one != "" && slices.Contains(h.Controllers, one) {
			return 1
		}
	}
	for _, h := range v.host.Hierarchies {
		if h.Version == 2 && two != "" && slices.Contains(h.Controllers, two) {
			return 2
		}
	}
	name := one
	if two != "" && (one == "" || v.host.Mode() == V2) {
		name = two
	}
	v.fail(v.host.missing(name, field))
	return 0
}

func (v *resolver) add(s ...setting) { v.list = append(v.list, s...) }
func (v *resolver) fail(err error)   { v.errs = append(v.errs, err) }
func (v *resolver) warn(text string) { v.warnings = append(v.warnings, text) }

func (v *resolver) bad(field string, value any, why string) { v.fail(invalid(field, value, "%s", why)) }

func (v *resolver) cannot(field string, value any, why string) {
	v.fail(unsupported(field, value, "%s", why))
}

// noLimit is how version 2 spells it, and the pids controller in both.
const noLimit = "max"
