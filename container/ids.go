package container

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const maxID = 1024

// checkID keeps IDs to what is a file's name in every folder that they become one in.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the container ID is empty", ErrInvalid)
	case len(id) > maxID:
		return fmt.Errorf("%w: a container ID of %d characters, at most %d", ErrInvalid, len(id), maxID)
	case id == "." || id == "..":
		return fmt.Errorf("%w: container ID %q", ErrInvalid, id)
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+-.,", r)) {
			return fmt.Errorf("%w: container ID %q: character %q is none of A-Z a-z 0-9 _ + - . ,", ErrInvalid, id, r)
		}
	}
	return nil
}

// processID names a process for good: numbers are used again, but not in the same clock tick.
type processID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // starttime, field 22 of /proc/PID/stat, see proc(5)
}

// identify reads a process's name. It also tells whether the process is a zombie, that is, has ended.
func identify(pid int) (id processID, zombie bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return id, false, err
	}
	state, start, err := parseStat(string(text))
	if err != nil {
		return id, false, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return processID{pid, start}, state == 'Z' || state == 'X', nil
}

// parseStat finds the state and the start time. The program's name, field 2, may hold blanks and parentheses.
func parseStat(text string) (state byte, start uint64, err error) {
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	const startField = 22 - 3 // what follows the name is field 3
	if end < 0 || len(fields) <= startField {
		return 0, 0, fmt.Errorf("%d fields after the name", len(fields))
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return fields[0][0], start, err
}

// alive tells whether it runs.
func (p processID) alive() bool {
	now, zombie, err := identify(p.PID)
	return err == nil && now == p && !zombie
}
