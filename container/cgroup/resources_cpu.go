package cgroup

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const cpuField = resources + "cpu."

// The kernel's bounds of a period and the least quota, in microseconds (kernel/sched/core.c, min_cfs_quota_period and
// max_cfs_quota_period).
const (
	minPeriod = 1000
	maxPeriod = 1000000
	minQuota  = 1000
)

// cpu resolves the specification's section "CPU". A share, quota or period of 0 is a field left out.
func (v *resolver) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	v.cpuset(c)
	if !v.checkCPU(c) {
		return
	}
	if c.RealtimeRuntime != nil || given(c.RealtimePeriod) {
		v.realtime(c)
	}
	if !given(c.Shares) && !given(c.Quota) && !given(c.Period) && c.Burst == nil && c.Idle == nil {
		return
	}
	switch v.version("cpu", "cpu", cpuField+"shares") {
	case 1:
		v.cpu1(c)
	case 2:
		v.cpu2(c)
	}
}

func given[T int64 | uint64](n *T) bool { return n != nil && *n != 0 }

func (v *resolver) checkCPU(c *specs.LinuxCPU) bool {
	before := len(v.errs)
	if given(c.Period) && (*c.Period < minPeriod || *c.Period > maxPeriod) {
		v.bad(cpuField+"period", *c.Period, fmt.Sprintf("from %d to %d microseconds", minPeriod, maxPeriod))
	}
	if given(c.Quota) && *c.Quota != -1 && *c.Quota < minQuota {
		v.bad(cpuField+"quota", *c.Quota, fmt.Sprintf("%d microseconds or more, or -1 for no limit", minQuota))
	}
	if c.Burst != nil && c.Quota != nil && *c.Quota > 0 && *c.Burst > uint64(*c.Quota) {
		v.bad(cpuField+"burst", *c.Burst, fmt.Sprintf("more than the quota of %d", *c.Quota))
	}
	if c.Idle != nil && *c.Idle != 0 && *c.Idle != 1 {
		v.bad(cpuField+"idle", *c.Idle, "0 or 1")
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime < -1 {
		v.bad(cpuField+"realtimeRuntime", *c.RealtimeRuntime, "a time in microseconds, or -1 for no limit")
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime > 0 && given(c.RealtimePeriod) &&
		uint64(*c.RealtimeRuntime) > *c.RealtimePeriod {
		v.bad(cpuField+"realtimeRuntime", *c.RealtimeRuntime, fmt.Sprintf("more than the period of %d", *c.RealtimePeriod))
	}
	return len(v.errs) == before
}

func (v *resolver) cpuset(c *specs.LinuxCPU) {
	for _, x := range []struct{ name, file, list, why string }{
		{"cpus", "cpuset.cpus", c.Cpus, "runs on these processors alone"},
		{"mems", "cpuset.mems", c.Mems, "gets memory from these nodes alone"},
	} {
		list := strings.TrimSpace(x.list)
		if list == "" {
			continue
		}
		if err := checkList(list); err != nil {
			v.bad(cpuField+x.name, fmt.Sprintf("%q", x.list), err.Error())
			continue
		}
		if version := v.version("cpuset", "cpuset", cpuField+x.name); version != 0 {
			v.add(setting{
				version: version, controller: "cpuset", file: x.file, value: list, field: cpuField + x.name,
				why: x.why, hint: hintCpuset,
			})
		}
	}
}

// checkList reads a list such as "0-3,7" (cpuset(7), "List format").
func checkList(list string) error {
	for part := range strings.SplitSeq(list, ",") {
		part, _, _ = strings.Cut(strings.Trim(part, " "), ":") // a stride
		first, last, isRange := strings.Cut(part, "-")
		low, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return fmt.Errorf("a list such as 0-3,7, and %q is no number", first)
		}
		if !isRange {
			continue
		}
		if high, err := strconv.ParseUint(last, 10, 16); err != nil || high < low {
			return fmt.Errorf("a list such as 0-3,7, and %q is no range", part)
		}
	}
	return nil
}

// hintCpuset says which there are, when the kernel refuses some.
func hintCpuset(s setting, f folder, err error) error {
	name := "cpuset.effective_" + strings.TrimPrefix(s.file, "cpuset.")
	if f.Version == 2 {
		name = s.file + ".effective"
	}
	has, readErr := readFile(parent(f).file(name))
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w: the group above has %s", err, strings.TrimSpace(has))
}

// realtime is of version 1 alone. It is written before any other process joins: one with a realtime policy may not
// join a group whose time for such is 0, as that of a new group is.
func (v *resolver) realtime(c *specs.LinuxCPU) {
	field := cpuField + "realtimeRuntime"
	if c.RealtimeRuntime == nil {
		field = cpuField + "realtimePeriod"
	}
	switch v.version("cpu", "cpu", field) {
	case 0:
		return
	case 2:
		v.cannot(field, nil, "version 2 has no realtime time of a group")
		return
	}
	const lacking = "this kernel was built without CONFIG_RT_GROUP_SCHED"
	period := setting{
		version: 1, controller: "cpu", file: "cpu.rt_period_us", field: cpuField + "realtimePeriod", lacking: lacking,
		why: "the period of realtimeRuntime, in microseconds",
	}
	runtime := setting{
		version: 1, controller: "cpu", file: "cpu.rt_runtime_us", field: cpuField + "realtimeRuntime", lacking: lacking,
		why: "microseconds a period for processes with a realtime policy",
	}
	if c.RealtimeRuntime != nil {
		runtime.value = strconv.FormatInt(*c.RealtimeRuntime, 10)
	}
	if given(c.RealtimePeriod) {
		period.value = strconv.FormatUint(*c.RealtimePeriod, 10)
		if c.RealtimeRuntime != nil {
			period.partner = &runtime // the runtime that there is may not fit into the new period
		}
		v.add(period)
	}
	if c.RealtimeRuntime != nil {
		v.add(runtime)
	}
}

func (v *resolver) cpu1(c *specs.LinuxCPU) {
	file := func(base, name, value, why string) setting {
		return setting{version: 1, controller: "cpu", file: base, value: value, field: cpuField + name, why: why}
	}
	v.withIdle(c, 1, func() {
		if given(c.Shares) {
			v.add(file("cpu.shares", "shares", strconv.FormatUint(*c.Shares, 10),
				"weight beside groups with 1024, where processors are short"))
		}
	})
	var burst setting
	if c.Burst != nil {
		burst = file("cpu.cfs_burst_us", "burst", strconv.FormatUint(*c.Burst, 10),
			"what was not used may be used later, so much at most")
		burst.lacking = "Linux 5.14 has it"
		burst.optional = *c.Burst == 0
	}
	var quota setting
	if given(c.Quota) {
		quota = file("cpu.cfs_quota_us", "quota", strconv.FormatInt(*c.Quota, 10),
			"microseconds of processor time in a period")
		if c.Burst != nil {
			quota.partner = &burst
		}
	}
	if given(c.Period) {
		period := file("cpu.cfs_period_us", "period", strconv.FormatUint(*c.Period, 10),
			"length of a period, in microseconds")
		if given(c.Quota) {
			// The share of the two may be no more than the group's above. With the old quota, the new period may make
			// it so.
			period.partner = &quota
		}
		v.add(period)
	}
	if given(c.Quota) {
		v.add(quota)
	}
	if c.Burst != nil {
		v.add(burst)
	}
}

func (v *resolver) cpu2(c *specs.LinuxCPU) {
	v.withIdle(c, 2, func() {
		if given(c.Shares) {
			v.add(setting{
				version: 2, controller: "cpu", file: "cpu.weight", field: cpuField + "shares",
				value: strconv.FormatUint(sharesToWeight(*c.Shares), 10),
				why:   fmt.Sprintf("%d shares of version 1: weight beside groups with 100, where processors are short", *c.Shares),
			})
		}
	})
	var burst setting
	if c.Burst != nil {
		burst = setting{
			version: 2, controller: "cpu", file: "cpu.max.burst", field: cpuField + "burst",
			value: strconv.FormatUint(*c.Burst, 10), why: "what was not used may be used later, so much at most",
			lacking: "Linux 5.14 has it", optional: *c.Burst == 0,
		}
	}
	if given(c.Quota) || given(c.Period) {
		v.add(cpuMax(c, burst))
	}
	if c.Burst != nil {
		v.add(burst)
	}
}

// cpuMax is "$MAX $PERIOD". The kernel keeps the period if it is left out, but not the quota.
func cpuMax(c *specs.LinuxCPU, burst setting) setting {
	s := setting{
		version: 2, controller: "cpu", file: "cpu.max", field: cpuField + "quota",
		why: "microseconds of processor time in a period, and its length",
	}
	if burst.file != "" {
		s.partner = &burst
	}
	if !given(c.Quota) {
		s.field = cpuField + "period"
		period := strconv.FormatUint(*c.Period, 10)
		s.value = noLimit + " " + period
		s.compute = func(f folder) (string, error) {
			text, err := readFile(f.file("cpu.max"))
			if err != nil {
				return "", err
			}
			quota, _, _ := strings.Cut(strings.TrimSpace(text), " ")
			return quota + " " + period, nil
		}
		return s
	}
	s.value = bytesOrMax(*c.Quota)
	if given(c.Period) {
		s.value += " " + strconv.FormatUint(*c.Period, 10)
	}
	return s
}

// withIdle puts cpu.idle on the right side of the weight, which the kernel refuses to set on an idle group.
func (v *resolver) withIdle(c *specs.LinuxCPU, version int, weight func()) {
	if c.Idle == nil {
		weight()
		return
	}
	idle := setting{
		version: version, controller: "cpu", file: "cpu.idle", field: cpuField + "idle", value: strconv.FormatInt(*c.Idle, 10),
		lacking: "Linux 5.15 has it", optional: *c.Idle == 0, why: "1: runs when no other group wants to (SCHED_IDLE)",
	}
	if *c.Idle == 0 {
		v.add(idle)
		weight()
		return
	}
	weight()
	v.add(idle)
}
