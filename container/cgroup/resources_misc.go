package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/pattern"
)

// maxPids is one less than the kernel's PIDS_MAX (kernel/cgroup/pids.c).
const maxPids = 4 << 20

// pids resolves the specification's section "PIDs": -1 is no limit, and 0 is a limit since version 1.3 of it.
func (v *resolver) pids(p *specs.LinuxPids) {
	const field = resources + "pids.limit"
	if p == nil || p.Limit == nil {
		return
	}
	if *p.Limit < -1 || *p.Limit > maxPids {
		v.bad(field, *p.Limit, fmt.Sprintf("from 0 to %d, or -1 for no limit", maxPids))
		return
	}
	if version := v.version("pids", "pids", field); version != 0 {
		v.add(setting{
			version: version, controller: "pids", file: "pids.max", value: bytesOrMax(*p.Limit), field: field,
			why: "beyond it fork fails: a fork bomb ends here",
		})
	}
}

var pageSize = pattern.New(`^[1-9][0-9]*[KMG]B$`)

// hugepages resolves the specification's section "Huge page limits": what may be reserved, where the kernel counts that
// (Linux 5.7), and what may be used.
func (v *resolver) hugepages(limits []specs.LinuxHugepageLimit) {
	for i, l := range limits {
		field := fmt.Sprintf("%shugepageLimits[%d]", resources, i)
		if !pageSize.MatchString(l.Pagesize) {
			v.bad(field+".pageSize", fmt.Sprintf("%q", l.Pagesize), "a size such as 64KB, 2MB or 1GB")
			continue
		}
		s := setting{
			controller: "hugetlb", value: strconv.FormatUint(l.Limit, 10), field: field + ".limit",
			why:     "bytes in huge pages; beyond it a fault ends in SIGBUS",
			lacking: "this machine has no huge pages of " + l.Pagesize,
		}
		limit, reserve := ".limit_in_bytes", ".rsvd.limit_in_bytes"
		switch s.version = v.version("hugetlb", "hugetlb", field); s.version {
		case 0:
			return
		case 2:
			limit, reserve = ".max", ".rsvd.max"
		}
		s.file = "hugetlb." + l.Pagesize + limit
		reserved := s
		reserved.file, reserved.optional = "hugetlb."+l.Pagesize+reserve, true
		reserved.why = "bytes in huge pages that mmap may reserve, so that it fails and no fault does"
		v.add(s, reserved)
	}
}

// network resolves the specification's section "Network", of version 1 alone.
func (v *resolver) network(n *specs.LinuxNetwork) {
	if n == nil {
		return
	}
	const classField, prioField = resources + "network.classID", resources + "network.priorities"
	if n.ClassID != nil && *n.ClassID != 0 && v.version("net_cls", "", classField) == 1 {
		v.add(setting{
			version: 1, controller: "net_cls", file: "net_cls.classid", field: classField,
			value: strconv.FormatUint(uint64(*n.ClassID), 10), why: "tc and iptables know its packets by this number",
		})
	}
	for i, p := range n.Priorities {
		field := fmt.Sprintf("%s[%d]", prioField, i)
		if p.Name == "" || len(p.Name) >= syscall.IFNAMSIZ || strings.ContainsAny(p.Name, "/ \t\n") {
			v.bad(field+".name", fmt.Sprintf("%q", p.Name), "not the name of an interface")
			continue
		}
		if v.version("net_prio", "", field) != 1 {
			return
		}
		v.add(setting{
			version: 1, controller: "net_prio", file: "net_prio.ifpriomap", field: field,
			value: p.Name + " " + strconv.FormatUint(uint64(p.Priority), 10), hint: hintDevice,
			why: "priority of its packets on this interface of the host's",
		})
	}
}

// hintDevice says what it is that the kernel does not find.
func hintDevice(s setting, _ folder, err error) error {
	if !errors.Is(err, syscall.ENODEV) {
		return err
	}
	name, _, _ := strings.Cut(s.value, " ")
	return fmt.Errorf("%w %s", err, name)
}

// rdma resolves the specification's section "RDMA"; both versions have the same file.
func (v *resolver) rdma(devices map[string]specs.LinuxRdma) {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		field, limits := fmt.Sprintf("%srdma[%q]", resources, name), devices[name]
		if name == "" || strings.ContainsAny(name, " \t\n/=") {
			v.bad(field, nil, "not the name of a device")
			continue
		}
		value := name
		if limits.HcaHandles != nil {
			value += fmt.Sprintf(" hca_handle=%d", *limits.HcaHandles)
		}
		if limits.HcaObjects != nil {
			value += fmt.Sprintf(" hca_object=%d", *limits.HcaObjects)
		}
		if value == name {
			v.bad(field, nil, "neither hcaHandles nor hcaObjects")
			continue
		}
		version := v.version("rdma", "rdma", field)
		if version == 0 {
			return
		}
		v.add(setting{
			version: version, controller: "rdma", file: "rdma.max", value: value, field: field,
			why: "handles and objects of this adapter at most", hint: hintDevice,
		})
	}
}

// ruled are the files of version 2 by which a runtime moves, stops and divides a group. They are no resources, and
// cgroup.procs in a config.json would pull any process of the host into the container's limits.
var ruled = []string{
	"cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control",
}

// unified resolves the specification's section "Unified": file names and what to write to them.
func (v *resolver) unified(files map[string]string) {
	two, hasTwo := v.host.unified()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		field := fmt.Sprintf("%sunified[%q]", resources, name)
		controller, _, dotted := strings.Cut(name, ".")
		switch {
		case strings.Contains(name, "/") || !dotted || controller == "" || checkName(name) != nil:
			v.bad(field, nil, "not the name of a file in a group, such as memory.high")
			continue
		case slices.Contains(ruled, name):
			v.bad(field, nil, "not a resource: the engine writes this file itself")
			continue
		case strings.TrimSpace(files[name]) == "":
			v.bad(field, nil, "nothing to write")
			continue
		case !hasTwo:
			v.cannot(field, nil, "this host has version 1 alone")
			continue
		case controller != "cgroup" && !slices.Contains(two.Controllers, controller):
			v.fail(v.host.missing(controller, field))
			continue
		}
		v.add(setting{
			version: 2, controller: controller, file: name, value: files[name], lines: true, field: field,
			why: "asked for by its name in version 2", lacking: "this kernel has no such file in a group",
		})
	}
}
