package box

import "github.com/opencontainers/runtime-spec/specs-go"

// cpuPeriod is the kernel's usual one, in microseconds.
const cpuPeriod = 100_000

// resources are limits as cgroups have them.
func (o *Options) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if o.Memory != 0 {
		r.Memory = &specs.LinuxMemory{Limit: &o.Memory}
	}
	if o.CPUs != 0 {
		period, quota := uint64(cpuPeriod), int64(o.CPUs*cpuPeriod+0.5)
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if o.PidsLimit != 0 {
		r.Pids = &specs.LinuxPids{Limit: &o.PidsLimit}
	}
	return r
}

// limited tells whether there is a limit for a cgroup to hold.
func (o *Options) limited() bool { return o.Memory != 0 || o.CPUs != 0 || o.PidsLimit != 0 }
