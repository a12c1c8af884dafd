package agent

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A command's session finds its children where there is no cgroup: all but those that have made a session of their own.

// killSession kills every process of the command's session.
func (x *command) killSession() {
	// A member may fork while the list is read. Its child is found by the next round.
	for range 100 {
		members := x.members()
		if len(members) == 0 {
			return
		}
		for _, pid := range members {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// members are the processes of the command's session that live.
//
// A session keeps its number, the command's pid, from being given out again for as long as it has a member. If there is
// a process of that number after the command has been reaped, then it is another's and no member is left.
func (x *command) members() []int {
	x.mu.Lock()
	reaped := x.pidfd < 0
	x.mu.Unlock()
	if reaped && unix.Kill(x.pid, 0) == nil {
		return nil
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var members []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has just ended
		}
		if state, session := parseStat(stat); session == x.pid && state != 'Z' && state != 'X' {
			members = append(members, pid)
		}
	}
	return members
}

// parseStat takes a process's state and session out of /proc/PID/stat (proc_pid_stat(5), fields 3 and 6). The second
// field is a name in parentheses that may hold anything.
func parseStat(stat []byte) (state byte, session int) {
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	fields := bytes.Fields(rest)
	if len(fields) < 4 {
		return 0, 0
	}
	session, _ = strconv.Atoi(string(fields[3]))
	return fields[0][0], session
}
