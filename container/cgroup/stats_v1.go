package cgroup

import (
	"fmt"
	"strings"
)

// read1 reads what the controllers of one version 1 hierarchy tell.
func (r *statReader) read1(s *Stats) {
	for _, controller := range r.Controllers {
		switch controller {
		case "cpu":
			r.throttling1(s)
		case "cpuacct":
			r.cpuacct(s)
		case "cpuset":
			r.cpuset1(s)
		case "memory":
			s.Memory = r.memory1()
		case "pids":
			s.Pids = &PidsStats{
				Current: r.uint("pids.current"), Max: r.uint("pids.peak"),
				Limit: r.uint("pids.max"), Failures: r.flat("pids.events")["max"],
			}
		case "blkio":
			s.IO = r.blkio()
		case "hugetlb":
			r.hugetlb(s, ".limit_in_bytes", func(prefix string) HugetlbStats {
				return HugetlbStats{
					Usage: r.uint(prefix + ".usage_in_bytes"), Max: r.uint(prefix + ".max_usage_in_bytes"),
					Limit: unlimited1(r.uint(prefix + ".limit_in_bytes")), Failures: r.uint(prefix + ".failcnt"),
				}
			})
		case "rdma":
			if text, has := r.text("rdma.current"); has {
				s.RDMA = parseRDMA(text)
			}
		}
	}
}

// cpu makes the part that two controllers of version 1 fill in.
func (s *Stats) cpu() *CPUStats {
	if s.CPU == nil {
		s.CPU = &CPUStats{}
	}
	return s.CPU
}

func (r *statReader) throttling1(s *Stats) {
	stat, c := r.flat("cpu.stat"), s.cpu()
	c.Periods, c.ThrottledPeriods, c.ThrottledTime = stat["nr_periods"], stat["nr_throttled"], stat["throttled_time"]
	c.Bursts, c.BurstTime = stat["nr_bursts"], stat["burst_time"]
}

func (r *statReader) cpuacct(s *Stats) {
	c := s.cpu()
	c.Usage, c.User, c.Kernel = r.uint("cpuacct.usage"), r.uint("cpuacct.usage_user"), r.uint("cpuacct.usage_sys")
	c.PerCPU, _ = statFile(r, "cpuacct.usage_all", parseUsageAll)
}

// parseUsageAll reads a heading and then lines of "cpu user system".
func parseUsageAll(text string) ([]PerCPU, error) {
	var all []PerCPU
	_, text, _ = strings.Cut(text, "\n")
	for line := range strings.Lines(text) {
		var number int
		var c PerCPU
		if _, err := fmt.Sscan(line, &number, &c.User, &c.Kernel); err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		if number < len(all) || number > 1<<16 {
			return nil, fmt.Errorf("line %q after that of processor %d", line, len(all)-1)
		}
		all = append(all, make([]PerCPU, number+1-len(all))...) // processors that are offline have no line
		all[number] = c
	}
	return all, nil
}

var cpusetFlags = []string{
	"cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate", "memory_spread_page", "memory_spread_slab",
	"memory_pressure", "sched_load_balance", "sched_relax_domain_level",
}

func (r *statReader) cpuset1(s *Stats) {
	c := &CPUSetStats{Flags: make(map[string]int64)}
	c.CPUs, _ = statFile(r, "cpuset.cpus", parseCPUs)
	c.Mems, _ = statFile(r, "cpuset.mems", parseCPUs)
	for _, name := range cpusetFlags {
		if n, has := statFile(r, "cpuset."+name, parseInt); has {
			c.Flags[name] = n
		}
	}
	s.CPUSet = c
}

func (r *statReader) memory1() *MemoryStats {
	stat, oom := r.flat("memory.stat"), r.flat("memory.oom_control")
	// With "total_" they are those of the group and all below it, like the usage.
	total := func(name string) uint64 { return stat["total_"+name] }
	m := &MemoryStats{
		MemoryCounter: r.counter1("memory."), Cache: total("cache"), Anonymous: total("rss"),
		Swap:       MemoryCounter{Usage: total("swap"), Limit: Unlimited},
		MemorySwap: r.counter1("memory.memsw."),
		OOMKills:   oom["oom_kill"], UnderOOM: oom["under_oom"] != 0, Raw: stat,
	}
	if _, has := r.text("memory.kmem.usage_in_bytes"); has {
		kernel := r.counter1("memory.kmem.")
		m.KernelV1, m.Kernel = &kernel, kernel.Usage
	}
	if _, has := r.text("memory.kmem.tcp.usage_in_bytes"); has {
		tcp := r.counter1("memory.kmem.tcp.")
		m.KernelTCP, m.Sockets = &tcp, tcp.Usage
	}
	return m
}

func (r *statReader) counter1(prefix string) MemoryCounter {
	return MemoryCounter{
		Usage: r.uint(prefix + "usage_in_bytes"), Max: r.uint(prefix + "max_usage_in_bytes"),
		Limit: unlimited1(r.uint(prefix + "limit_in_bytes")), Failures: r.uint(prefix + "failcnt"),
	}
}

// unlimited1 is a limit of version 1, which prints for none the largest number of pages, small or huge, in bytes.
func unlimited1(limit uint64) uint64 {
	const absurd = 1 << 62
	if limit >= absurd {
		return Unlimited
	}
	return limit
}

// blkio takes the counters of the I/O scheduler if it has any, else those of throttling, which count the same.
func (r *statReader) blkio() *IOStats {
	io := &IOStats{Devices: make(map[DeviceNumber]DeviceIO)}
	r.blkioFile(io, "io_service_bytes_recursive", func(d *DeviceIO) (read, write, discard *uint64) {
		return &d.ReadBytes, &d.WriteBytes, &d.DiscardBytes
	})
	r.blkioFile(io, "io_serviced_recursive", func(d *DeviceIO) (read, write, discard *uint64) {
		return &d.Reads, &d.Writes, &d.Discards
	})
	return io
}

func (r *statReader) blkioFile(io *IOStats, name string, fields func(*DeviceIO) (read, write, discard *uint64)) {
	var devices map[DeviceNumber]map[string]uint64
	for _, prefix := range []string{"blkio.bfq.", "blkio.throttle."} {
		if devices, _ = statFile(r, prefix+name, parseBlkio); len(devices) > 0 {
			break
		}
	}
	for number, operations := range devices {
		d := io.Devices[number]
		read, write, discard := fields(&d)
		*read, *write, *discard = operations["Read"], operations["Write"], operations["Discard"]
		io.Devices[number] = d
	}
}
