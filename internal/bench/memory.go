package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ownMemory adds up the anonymous memory of a process (its part of shared pages counted by share: Pss) but for the
// guest's: a mapping, or a run of neighbouring ones that a monitor has split, as large as the guest's memory.
func ownMemory(pid int, guestSize uint64) (uint64, error) {
	mappings, err := readMappings(pid)
	if err != nil {
		return 0, err
	}
	own, guest := uint64(0), guestMappings(mappings, guestSize)
	for i, m := range mappings {
		if !guest[i] {
			own += m.anonymous
		}
	}
	return own, nil
}

// guestMappings finds the guest's memory: the shortest run of neighbours, each starting where the last one ended, that
// is exactly as large.
func guestMappings(mappings []mapping, size uint64) map[int]bool {
	best := map[int]bool{}
	for first := range mappings {
		run, end := map[int]bool{}, mappings[first].start
		for i := first; i < len(mappings) && mappings[i].start == end && end-mappings[first].start < size; i++ {
			run[i], end = true, mappings[i].end
		}
		if end-mappings[first].start == size && (len(best) == 0 || len(run) < len(best)) {
			best = run
		}
	}
	return best
}

// mapping is one entry of /proc/PID/smaps (proc(5)).
type mapping struct {
	start, end uint64
	anonymous  uint64 // bytes: the share of Pss that is anonymous
}

func readMappings(pid int) ([]mapping, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []mapping
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		var m mapping
		if n, _ := fmt.Sscanf(line, "%x-%x ", &m.start, &m.end); n == 2 {
			all = append(all, m)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		var kib uint64
		if n, _ := fmt.Sscanf(value, "%d kB", &kib); n != 1 || len(all) == 0 {
			continue
		}
		// "Anonymous" is not shared by anyone: a monitor that has not forked has it all to itself.
		if name == "Anonymous" {
			all[len(all)-1].anonymous = kib << 10
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("smaps of the monitor is empty: it has ended")
	}
	return all, nil
}
