package cgroup

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// deviceRules resolves the specification's section "Allowed Device list".
func (v *resolver) deviceRules(rules []specs.LinuxDeviceCgroup) {
	const field = resources + "devices"
	if len(rules) == 0 {
		return
	}
	d, err := CompileDevices(rules)
	if err != nil {
		v.fail(err)
		return
	}
	if v.host.UserNS {
		v.warn(field + " has no effect: this is a user namespace, where the kernel lets nobody make or change such rules")
		return
	}
	if _, ok := v.host.Find("devices"); ok {
		v.devices = &d
		for _, line := range d.lines() {
			v.add(line)
		}
		return
	}
	if _, ok := v.host.unified(); ok {
		v.devices, v.byProgram = &d, true
		return
	}
	v.fail(v.host.missing("devices", field))
}

// lines are the writes that bring a group of version 1 from any state to this one.
func (d Devices) lines() []setting {
	reset, except := "devices.deny", "devices.allow"
	why, whyNot := "nothing, as a start", "an exception"
	if d.allow {
		reset, except = except, reset
		why = "everything, as a start"
	}
	list := []setting{deviceLine(reset, "a", why)}
	for _, e := range d.exceptions {
		list = append(list, deviceLine(except, e.String(), whyNot))
	}
	return list
}

// since are the writes that bring a group from one state to another while its processes run, who may be about to open
// what they may open before and after.
func (d Devices) since(old Devices) []setting {
	if d.allow || old.allow { // of one that allows all the exceptions are not known
		return d.lines()
	}
	var list []setting
	for _, e := range d.exceptions {
		if !slices.Contains(old.exceptions, e) {
			list = append(list, deviceLine("devices.allow", e.String(), "allowed from now on"))
		}
	}
	for _, e := range old.exceptions {
		gone := e
		for _, x := range d.exceptions {
			if x.sameDevices(e) {
				gone.access &^= x.access
			}
		}
		if gone.access != 0 {
			list = append(list, deviceLine("devices.deny", gone.String(), "no longer allowed"))
		}
	}
	return list
}

func deviceLine(file, value, why string) setting {
	return setting{version: 1, controller: "devices", file: file, value: value, field: resources + "devices", why: why}
}
