package box

import (
	"math"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits are what a box may use, as cgroups hold it to that. They can be changed while it runs. Nought is no limit.
type Limits struct {
	Memory            int64   `json:"memory,omitempty"`            // bytes
	MemorySwap        int64   `json:"memorySwap,omitempty"`        // bytes, of memory and swap together; -1 is as much as there is
	MemoryReservation int64   `json:"memoryReservation,omitempty"` // bytes, to which it is cut back when the machine runs short
	CPUs              float64 `json:"cpus,omitempty"`
	CPUShares         uint64  `json:"cpuShares,omitempty"` // against others, 1024 is usual
	CPUSet            string  `json:"cpuset,omitempty"`    // "0-2,4"
	MemSet            string  `json:"memset,omitempty"`
	PidsLimit         int64   `json:"pidsLimit,omitempty"`
	BlkioWeight       uint16  `json:"blkioWeight,omitempty"`
}

// minMemory is the smallest limit that is not a slip of the pen; docker's is 6 MiB, for want of a lighter runtime.
const minMemory = 512 << 10

// Check refuses what can be known to be wrong from the values alone.
func (l *Limits) Check() error {
	switch {
	case l.Memory != 0 && l.Memory < minMemory:
		return wrong("--memory %d bytes: want at least %d", l.Memory, minMemory)
	case l.MemorySwap != 0 && l.Memory == 0:
		return wrong("--memory-swap without --memory: it is the limit of both together")
	case l.MemorySwap < -1 || l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return wrong("--memory-swap %d: it is memory and swap together, and so not less than --memory %d; -1 is no limit", l.MemorySwap, l.Memory)
	case l.Memory != 0 && l.MemoryReservation > l.Memory:
		return wrong("--memory-reservation %d is above --memory %d", l.MemoryReservation, l.Memory)
	case l.CPUs < 0 || math.IsNaN(l.CPUs) || l.CPUs != 0 && l.CPUs < 0.01:
		return wrong("--cpus %g: want 0.01 or more", l.CPUs)
	case l.CPUShares == 1 || l.CPUShares > 262144:
		return wrong("--cpu-shares %d: want 2 to 262144", l.CPUShares)
	case l.PidsLimit < -1:
		return wrong("--pids-limit %d: want a number from 1 on, or -1 for no limit", l.PidsLimit)
	case l.BlkioWeight != 0 && (l.BlkioWeight < 10 || l.BlkioWeight > 1000):
		return wrong("--blkio-weight %d: want 10 to 1000", l.BlkioWeight)
	}
	for flag, list := range map[string]string{"--cpuset-cpus": l.CPUSet, "--cpuset-mems": l.MemSet} {
		if strings.Trim(list, "0123456789,-") != "" {
			return wrong("%s %q: want numbers, such as 0-2,4", flag, list)
		}
	}
	return nil
}

// cpuPeriod is the kernel's usual one, in microseconds.
const cpuPeriod = 100_000

// resources are limits as the runtime specification has them.
func (l Limits) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if l.Memory != 0 || l.MemoryReservation != 0 {
		r.Memory = &specs.LinuxMemory{Limit: set(l.Memory), Swap: set(l.MemorySwap), Reservation: set(l.MemoryReservation)}
	}
	if l.CPUs != 0 || l.CPUShares != 0 || l.CPUSet != "" || l.MemSet != "" {
		r.CPU = &specs.LinuxCPU{Shares: set(l.CPUShares), Cpus: l.CPUSet, Mems: l.MemSet}
	}
	if l.CPUs != 0 {
		period, quota := uint64(cpuPeriod), int64(l.CPUs*cpuPeriod+0.5)
		r.CPU.Period, r.CPU.Quota = &period, &quota
	}
	if l.PidsLimit != 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.PidsLimit}
	}
	if l.BlkioWeight != 0 {
		r.BlockIO = &specs.LinuxBlockIO{Weight: &l.BlkioWeight}
	}
	return r
}

// set is nil for nought.
func set[T int64 | uint64](n T) *T {
	if n == 0 {
		return nil
	}
	return &n
}

// limited tells whether there is a limit for a cgroup to hold.
func (l Limits) limited() bool { return l != Limits{} }
