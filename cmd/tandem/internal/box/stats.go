package box

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/network"
)

// Stats is what a box uses. What this host does not count is nil: a user's boxes have no cgroup, for one.
type Stats struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Status Status       `json:"status"`
	Time   time.Time    `json:"time"`
	CPU    *float64     `json:"cpuPercent,omitempty"` // of one processor: two that are busy make 200
	Memory *MemoryStats `json:"memory,omitempty"`
	Net    *Traffic     `json:"net,omitempty"` // of its own links; nil if it shares the host's network
	Block  *Traffic     `json:"block,omitempty"`
	Pids   *uint64      `json:"pids,omitempty"`

	Counters *cgroup.Stats `json:"cgroup,omitempty"`
}

// MemoryStats is what of its memory a box cannot do without: not the files that the kernel could read again.
type MemoryStats struct {
	Usage   uint64  `json:"usage"`
	Limit   uint64  `json:"limit"` // the machine's, if the box has none
	Percent float64 `json:"percent"`
}

// Traffic is bytes.
type Traffic struct {
	Received uint64 `json:"received"` // or read
	Sent     uint64 `json:"sent"`     // or written
}

// Stats reads the box's counters. The share of the processors is that since before, which is nil the first time.
func (r *Record) Stats(before *Stats) (*Stats, error) {
	s := &Stats{ID: r.ID, Name: r.Name, Status: r.Status(), Time: time.Now().UTC()}
	if s.Status != Running && s.Status != Paused {
		return s, nil
	}
	c, err := r.running()
	if err != nil {
		return nil, err
	}
	g, err := c.Cgroup()
	if err != nil {
		return nil, err
	}
	if g != nil {
		if s.Counters, err = g.Stats(); err != nil {
			return nil, err
		}
		s.count(before)
	}
	if r.Options.mode(os.Geteuid() == 0).Kind != network.ModeHost {
		if s.Net, err = linkTraffic(r.PID); err != nil {
			return nil, err
		}
	}
	if _, err := r.running(); err != nil { // the number may be another's by now
		return nil, err
	}
	return s, nil
}

func (s *Stats) count(before *Stats) {
	c := s.Counters
	if c.CPU != nil && before != nil && before.Counters != nil && before.Counters.CPU != nil {
		used, span := c.CPU.Usage-before.Counters.CPU.Usage, c.Time.Sub(before.Counters.Time)
		if share := float64(used) / float64(span) * 100; span > 0 && c.CPU.Usage >= before.Counters.CPU.Usage {
			s.CPU = &share
		}
	}
	if m := c.Memory; m != nil {
		s.Memory = memoryStats(m, machineMemory())
	}
	if c.Pids != nil {
		s.Pids = &c.Pids.Current
	}
	if c.IO != nil {
		s.Block = &Traffic{}
		for _, d := range c.IO.Devices {
			s.Block.Received += d.ReadBytes
			s.Block.Sent += d.WriteBytes
		}
	}
}

// memoryStats takes off what is cached and has not been used for long, as docker does: total_inactive_file is version 1's
// name of it, for the group and those below.
func memoryStats(m *cgroup.MemoryStats, machine uint64) *MemoryStats {
	cold, ok := m.Raw["total_inactive_file"]
	if !ok {
		cold = m.Raw["inactive_file"]
	}
	s := &MemoryStats{Usage: m.Usage - min(cold, m.Usage), Limit: min(m.Limit, machine)}
	if s.Limit != 0 {
		s.Percent = float64(s.Usage) / float64(s.Limit) * 100
	}
	return s
}

func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return cgroup.Unlimited
	}
	return info.Totalram * uint64(info.Unit)
}

// linkTraffic adds up the links of a process's network namespace.
func linkTraffic(pid int) (*Traffic, error) {
	path := fmt.Sprintf("/proc/%d/net/dev", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parseLinks(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// parseLinks reads /proc/PID/net/dev, see proc_pid_net(5): two lines of headings, and a line for each link with eight
// numbers of what it received and eight of what it sent. What goes by the loopback leaves the box by no link.
func parseLinks(text []byte) (*Traffic, error) {
	const columns = 16
	t := &Traffic{}
	for i, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if i < 2 {
			continue
		}
		end := bytes.LastIndexByte(line, ':') // a name may hold one
		if end < 0 {
			return nil, fmt.Errorf("line %d: no name", i+1)
		}
		fields := bytes.Fields(line[end+1:])
		if len(fields) < columns {
			return nil, fmt.Errorf("line %d: %d numbers, want %d", i+1, len(fields), columns)
		}
		if string(bytes.TrimSpace(line[:end])) == "lo" {
			continue
		}
		for field, to := range map[int]*uint64{0: &t.Received, columns / 2: &t.Sent} {
			n, err := strconv.ParseUint(string(fields[field]), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			*to += n
		}
	}
	return t, nil
}
