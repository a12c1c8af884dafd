package cgroup

import (
	"cmp"
	"slices"
)

// EventStats is Stats in the shape of the data of `runc events --stats`, which engines read. Names, and what is left
// out when it is nought, are runc's (type Stats of its package types).
type EventStats struct {
	CPU     EventCPU                `json:"cpu"`
	CPUSet  EventCPUSet             `json:"cpuset"`
	Memory  EventMemory             `json:"memory"`
	Pids    EventPids               `json:"pids"`
	Blkio   EventBlkio              `json:"blkio"`
	Hugetlb map[string]EventHugetlb `json:"hugetlb"`
	// IntelRdt is an empty object, and NetworkInterfaces null, as this engine manages neither.
	IntelRdt          struct{}   `json:"intel_rdt"`
	NetworkInterfaces []struct{} `json:"network_interfaces"`
}

// EventCPU is runc's Cpu.
type EventCPU struct {
	Usage struct {
		Total        uint64   `json:"total,omitempty"` // nanoseconds
		Percpu       []uint64 `json:"percpu,omitempty"`
		PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
		PercpuUser   []uint64 `json:"percpu_user,omitempty"`
		Kernel       uint64   `json:"kernel"`
		User         uint64   `json:"user"`
	} `json:"usage"`
	Throttling struct {
		Periods          uint64 `json:"periods,omitempty"`
		ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
		ThrottledTime    uint64 `json:"throttledTime,omitempty"`
	} `json:"throttling"`
	PSI *Pressure `json:"psi,omitempty"`
}

// EventCPUSet is runc's CPUSet.
type EventCPUSet struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          int64    `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           int64    `json:"mem_hardwall"`
	MemExclusive          int64    `json:"mem_exclusive"`
	MemoryMigrate         int64    `json:"memory_migrate"`
	MemorySpreadPage      int64    `json:"memory_spread_page"`
	MemorySpreadSlab      int64    `json:"memory_spread_slab"`
	MemoryPressure        int64    `json:"memory_pressure"`
	SchedLoadBalance      int64    `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

// EventMemory is runc's Memory.
type EventMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     EventMemoryEntry  `json:"usage"`
	Swap      EventMemoryEntry  `json:"swap"` // memory and swap, in version 2 too
	Kernel    EventMemoryEntry  `json:"kernel"`
	KernelTCP EventMemoryEntry  `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *Pressure         `json:"psi,omitempty"`
}

// EventMemoryEntry is runc's MemoryEntry.
type EventMemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// EventPids is runc's Pids.
type EventPids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"` // 0 for none
}

// EventBlkio is runc's Blkio, as far as kernels still tell it.
type EventBlkio struct {
	IoServiceBytesRecursive []EventBlkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	IoServicedRecursive     []EventBlkioEntry `json:"ioServicedRecursive,omitempty"`
	PSI                     *Pressure         `json:"psi,omitempty"`
}

// EventBlkioEntry is runc's BlkioEntry.
type EventBlkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// EventHugetlb is runc's Hugetlb.
type EventHugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// Event is the same numbers in runc's shape.
func (s *Stats) Event() *EventStats {
	e := &EventStats{Hugetlb: make(map[string]EventHugetlb)}
	if s.CPU != nil {
		e.CPU = s.CPU.event()
	}
	if c := s.CPUSet; c != nil {
		e.CPUSet = EventCPUSet{
			CPUs: c.CPUs, Mems: c.Mems, CPUExclusive: c.Flags["cpu_exclusive"], MemExclusive: c.Flags["mem_exclusive"],
			MemHardwall: c.Flags["mem_hardwall"], MemoryMigrate: c.Flags["memory_migrate"],
			MemorySpreadPage: c.Flags["memory_spread_page"], MemorySpreadSlab: c.Flags["memory_spread_slab"],
			MemoryPressure: c.Flags["memory_pressure"], SchedLoadBalance: c.Flags["sched_load_balance"],
			SchedRelaxDomainLevel: c.Flags["sched_relax_domain_level"],
		}
	}
	if s.Memory != nil {
		e.Memory = s.Memory.event()
	}
	if p := s.Pids; p != nil {
		e.Pids = EventPids{Current: p.Current, Limit: p.Limit}
		if p.Limit == Unlimited {
			e.Pids.Limit = 0
		}
	}
	if s.IO != nil {
		e.Blkio = s.IO.event()
	}
	for size, h := range s.Hugetlb {
		e.Hugetlb[size] = EventHugetlb{Usage: h.Usage, Max: h.Max, Failcnt: h.Failures}
	}
	return e
}

func (c *CPUStats) event() (e EventCPU) {
	e.Usage.Total, e.Usage.User, e.Usage.Kernel = c.Usage, c.User, c.Kernel
	for _, p := range c.PerCPU {
		e.Usage.Percpu = append(e.Usage.Percpu, p.User+p.Kernel)
		e.Usage.PercpuUser = append(e.Usage.PercpuUser, p.User)
		e.Usage.PercpuKernel = append(e.Usage.PercpuKernel, p.Kernel)
	}
	e.Throttling.Periods, e.Throttling.ThrottledPeriods = c.Periods, c.ThrottledPeriods
	e.Throttling.ThrottledTime = c.ThrottledTime
	e.PSI = c.Pressure
	return e
}

func (m *MemoryStats) event() EventMemory {
	e := EventMemory{
		Cache: m.Cache, Usage: m.MemoryCounter.event(), Swap: m.MemorySwap.event(), Raw: m.Raw, PSI: m.Pressure,
	}
	if m.KernelV1 != nil {
		e.Kernel = m.KernelV1.event()
	}
	if m.KernelTCP != nil {
		e.KernelTCP = m.KernelTCP.event()
	}
	return e
}

func (c MemoryCounter) event() EventMemoryEntry {
	return EventMemoryEntry{Limit: c.Limit, Usage: c.Usage, Max: c.Max, Failcnt: c.Failures}
}

func (io *IOStats) event() EventBlkio {
	e := EventBlkio{PSI: io.Pressure}
	for number, d := range io.Devices {
		add := func(list *[]EventBlkioEntry, op string, value uint64) {
			*list = append(*list, EventBlkioEntry{number.Major, number.Minor, op, value})
		}
		add(&e.IoServiceBytesRecursive, "Read", d.ReadBytes)
		add(&e.IoServiceBytesRecursive, "Write", d.WriteBytes)
		add(&e.IoServiceBytesRecursive, "Discard", d.DiscardBytes)
		add(&e.IoServicedRecursive, "Read", d.Reads)
		add(&e.IoServicedRecursive, "Write", d.Writes)
		add(&e.IoServicedRecursive, "Discard", d.Discards)
	}
	order := func(a, b EventBlkioEntry) int {
		return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor))
	}
	slices.SortStableFunc(e.IoServiceBytesRecursive, order)
	slices.SortStableFunc(e.IoServicedRecursive, order)
	return e
}
