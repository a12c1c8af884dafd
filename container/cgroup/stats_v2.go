package cgroup

import (
	"fmt"
	"path/filepath"
	"strings"
)

const microsecond = 1000 // nanoseconds

// read2 reads what version 2 tells of a group. In a hybrid host its hierarchy has few controllers or none, and what
// version 1 tells goes first.
func (r *statReader) read2(s *Stats) {
	if _, has := r.text("cpu.max"); has { // cpu.stat alone is there without the controller too
		s.CPU = r.cpu2()
	}
	if _, has := r.text("memory.current"); has {
		s.Memory = r.memory2()
	}
	if current, has := r.number("pids.current"); has {
		s.Pids = &PidsStats{
			Current: current, Max: r.uint("pids.peak"),
			Limit: r.uint("pids.max"), Failures: r.flat("pids.events")["max"],
		}
	}
	if _, has := r.text("cpuset.cpus.effective"); has {
		s.CPUSet = &CPUSetStats{}
		s.CPUSet.CPUs, _ = statFile(r, "cpuset.cpus.effective", parseCPUs)
		s.CPUSet.Mems, _ = statFile(r, "cpuset.mems.effective", parseCPUs)
	}
	if devices, has := statFile(r, "io.stat", parseNested); has {
		s.IO = &IOStats{Devices: make(map[DeviceNumber]DeviceIO), Pressure: r.pressure("io.pressure")}
		for number, d := range devices {
			s.IO.Devices[number] = DeviceIO{
				ReadBytes: d["rbytes"], WriteBytes: d["wbytes"], DiscardBytes: d["dbytes"],
				Reads: d["rios"], Writes: d["wios"], Discards: d["dios"],
			}
		}
	}
	r.hugetlb(s, ".max", func(prefix string) HugetlbStats {
		return HugetlbStats{
			Usage: r.uint(prefix + ".current"), Limit: r.uint(prefix + ".max"),
			Failures: r.flat(strings.TrimSuffix(prefix, reserved) + ".events")["max"], // one file for both
		}
	})
	if text, has := r.text("rdma.current"); has {
		s.RDMA = parseRDMA(text)
	}
}

func (r *statReader) cpu2() *CPUStats {
	stat := r.flat("cpu.stat")
	return &CPUStats{
		Usage: stat["usage_usec"] * microsecond,
		User:  stat["user_usec"] * microsecond, Kernel: stat["system_usec"] * microsecond,
		Periods: stat["nr_periods"], ThrottledPeriods: stat["nr_throttled"],
		ThrottledTime: stat["throttled_usec"] * microsecond,
		Bursts:        stat["nr_bursts"], BurstTime: stat["burst_usec"] * microsecond,
		Pressure: r.pressure("cpu.pressure"),
	}
}

func (r *statReader) memory2() *MemoryStats {
	stat, events, swap := r.flat("memory.stat"), r.flat("memory.events"), r.flat("memory.swap.events")
	m := &MemoryStats{
		MemoryCounter: MemoryCounter{
			Usage: r.uint("memory.current"), Max: r.uint("memory.peak"), Limit: r.uint("memory.max"), Failures: events["max"],
		},
		Cache: stat["file"], Anonymous: stat["anon"], Kernel: stat["kernel"], Slab: stat["slab"], Sockets: stat["sock"],
		Swap: MemoryCounter{
			Usage: r.uint("memory.swap.current"), Max: r.uint("memory.swap.peak"),
			Limit: r.uint("memory.swap.max"), Failures: swap["max"],
		},
		OOMs: events["oom"], OOMKills: events["oom_kill"], High: events["high"], Low: events["low"],
		Pressure: r.pressure("memory.pressure"), Raw: stat,
	}
	if m.Kernel == 0 { // before Linux 5.18 there was no sum
		m.Kernel = stat["slab"] + stat["kernel_stack"] + stat["pagetables"] + stat["percpu"]
	}
	// Peaks do not add up: they need not have been at the same time.
	m.MemorySwap = MemoryCounter{Usage: m.Usage + m.Swap.Usage, Limit: Unlimited}
	if m.Limit != Unlimited && m.Swap.Limit != Unlimited {
		m.MemorySwap.Limit = m.Limit + m.Swap.Limit
	}
	return m
}

// reserved is in the names of files about huge pages that were reserved, used or not.
const reserved = ".rsvd"

// hugetlb finds the sizes of pages that there are files for, and prefers those that count reservations.
func (r *statReader) hugetlb(s *Stats, suffix string, read func(prefix string) HugetlbStats) {
	const start = "hugetlb."
	files, _ := filepath.Glob(r.file(start + "*" + reserved + suffix))
	if len(files) == 0 {
		files, _ = filepath.Glob(r.file(start + "*" + suffix))
	}
	for _, file := range files {
		prefix := strings.TrimSuffix(filepath.Base(file), suffix)
		size := strings.TrimSuffix(strings.TrimPrefix(prefix, start), reserved)
		if s.Hugetlb == nil {
			s.Hugetlb = make(map[string]HugetlbStats)
		}
		s.Hugetlb[size] = read(prefix)
	}
}

// parseRDMA reads lines of "DEVICE hca_handle=N hca_object=N".
func parseRDMA(text string) map[string]RDMAStats {
	devices := make(map[string]RDMAStats)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var d RDMAStats
		for _, word := range words[1:] {
			_, _ = fmt.Sscanf(word, "hca_handle=%d", &d.Handles)
			_, _ = fmt.Sscanf(word, "hca_object=%d", &d.Objects)
		}
		devices[words[0]] = d
	}
	return devices
}
