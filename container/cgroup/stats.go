package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Unlimited is the limit of what has none.
const Unlimited = 1<<64 - 1

// Stats is what a group and those below it have used and met. Parts that no controller here tells of are nil. Sizes are
// bytes, times nanoseconds.
type Stats struct {
	Time    time.Time               `json:"time"`
	CPU     *CPUStats               `json:"cpu,omitempty"`
	CPUSet  *CPUSetStats            `json:"cpuset,omitempty"`
	Memory  *MemoryStats            `json:"memory,omitempty"`
	Pids    *PidsStats              `json:"pids,omitempty"`
	IO      *IOStats                `json:"io,omitempty"`
	Hugetlb map[string]HugetlbStats `json:"hugetlb,omitempty"` // by size of page: "2MB"
	RDMA    map[string]RDMAStats    `json:"rdma,omitempty"`    // by device
}

// CPUStats is time on processors.
type CPUStats struct {
	Usage  uint64 `json:"usage"`
	User   uint64 `json:"user"`
	Kernel uint64 `json:"kernel"`
	// PerCPU is Usage of each processor, of version 1 alone.
	PerCPU []PerCPU `json:"perCPU,omitempty"`

	Periods          uint64 `json:"periods"`          // of the quota, in which the group ran
	ThrottledPeriods uint64 `json:"throttledPeriods"` // of those, in which the quota was used up
	ThrottledTime    uint64 `json:"throttledTime"`
	Bursts           uint64 `json:"bursts"`
	BurstTime        uint64 `json:"burstTime"`

	Pressure *Pressure `json:"pressure,omitempty"`
}

// PerCPU is time on one processor.
type PerCPU struct {
	User   uint64 `json:"user"`
	Kernel uint64 `json:"kernel"`
}

// CPUSetStats are the processors and memory nodes that the group may use.
type CPUSetStats struct {
	CPUs []uint16 `json:"cpus"`
	Mems []uint16 `json:"mems"`
	// Flags are the switches that version 1 has, by the names of their files without "cpuset.".
	Flags map[string]int64 `json:"flags,omitempty"`
}

// MemoryStats is memory.
type MemoryStats struct {
	MemoryCounter
	// Cache is files' contents, Anonymous that of no file, Kernel what the kernel holds for the group, all in Usage.
	Cache     uint64 `json:"cache"`
	Anonymous uint64 `json:"anonymous"`
	Kernel    uint64 `json:"kernel"`
	Slab      uint64 `json:"slab"`
	Sockets   uint64 `json:"sockets"`
	// Swap is swap alone. Its limit and failures are version 2's, as version 1 limits MemorySwap.
	Swap MemoryCounter `json:"swap"`
	// MemorySwap is memory and swap together, version 1's counter. In version 2 it is the sum of the other two.
	MemorySwap MemoryCounter  `json:"memorySwap"`
	KernelTCP  *MemoryCounter `json:"kernelTCP,omitempty"`
	KernelV1   *MemoryCounter `json:"kernelCounter,omitempty"` // version 1 counts it by itself too

	OOMs     uint64 `json:"ooms"`     // that nothing could be reclaimed at the limit; version 1 counts none
	OOMKills uint64 `json:"oomKills"` // processes killed for that
	UnderOOM bool   `json:"underOOM"` // processes wait for memory now: version 1 with the killer disabled
	High     uint64 `json:"high"`     // times that the group was slowed down beyond memory.high
	Low      uint64 `json:"low"`      // times that it was reclaimed from below its reservation

	Pressure *Pressure `json:"pressure,omitempty"`
	// Raw is memory.stat as it stands.
	Raw map[string]uint64 `json:"raw,omitempty"`
}

// MemoryCounter is one of the kernel's page counters.
type MemoryCounter struct {
	Usage uint64 `json:"usage"`
	Max   uint64 `json:"max"` // the highest usage so far; 0 where the kernel does not tell
	Limit uint64 `json:"limit"`
	// Failures is how often the limit was hit.
	Failures uint64 `json:"failures"`
}

// PidsStats is processes and threads.
type PidsStats struct {
	Current  uint64 `json:"current"`
	Max      uint64 `json:"max"`
	Limit    uint64 `json:"limit"`
	Failures uint64 `json:"failures"` // forks that failed for it
}

// IOStats is traffic with block devices.
type IOStats struct {
	Devices  map[DeviceNumber]DeviceIO `json:"devices,omitempty"`
	Pressure *Pressure                 `json:"pressure,omitempty"`
}

// DeviceIO is bytes and operations. Version 1 counts no discards apart.
type DeviceIO struct {
	ReadBytes    uint64 `json:"readBytes"`
	WriteBytes   uint64 `json:"writeBytes"`
	DiscardBytes uint64 `json:"discardBytes"`
	Reads        uint64 `json:"reads"`
	Writes       uint64 `json:"writes"`
	Discards     uint64 `json:"discards"`
}

// HugetlbStats is memory in huge pages of one size: reserved, where the kernel counts that, else used.
type HugetlbStats struct {
	Usage    uint64 `json:"usage"`
	Max      uint64 `json:"max"`
	Limit    uint64 `json:"limit"`
	Failures uint64 `json:"failures"`
}

// RDMAStats is handles and objects in use.
type RDMAStats struct {
	Handles uint64 `json:"handles"`
	Objects uint64 `json:"objects"`
}

// Stats reads the group's counters.
func (g *Group) Stats() (*Stats, error) {
	s := &Stats{Time: time.Now()}
	var r statReader
	for _, f := range g.folders {
		r.folder = f
		if !f.alive() {
			return nil, fmt.Errorf("cgroup: statistics of %s: %w", f.path, ErrGone)
		}
		if f.Version == 2 {
			r.read2(s)
		} else {
			r.read1(s)
		}
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("cgroup: statistics: %w", err)
	}
	return s, nil
}

// statReader reads a folder's files. What is not there reads as nothing, since kernels differ in what they tell; what
// is there and makes no sense is an error.
type statReader struct {
	folder
	errs []error
}

// text is a file's contents, and whether there is such a file.
func (r *statReader) text(name string) (string, bool) {
	text, err := readFile(r.file(name))
	switch {
	case err == nil:
		return text, true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EOPNOTSUPP): // the latter: pressure, switched off (psi=0)
	default:
		r.errs = append(r.errs, err)
	}
	return "", false
}

func statFile[T any](r *statReader, name string, parse func(string) (T, error)) (T, bool) {
	var none T
	text, ok := r.text(name)
	if !ok {
		return none, false
	}
	value, err := parse(text)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", r.file(name), err))
		return none, false
	}
	return value, true
}

func (r *statReader) flat(name string) map[string]uint64 {
	fields, _ := statFile(r, name, parseFlat)
	return fields
}

func (r *statReader) number(name string) (uint64, bool) { return statFile(r, name, parseNumber) }

// uint is number for a file that may be missing.
func (r *statReader) uint(name string) uint64 {
	n, _ := r.number(name)
	return n
}

func (r *statReader) pressure(name string) *Pressure {
	p, _ := statFile(r, name, parsePressure)
	return p
}
