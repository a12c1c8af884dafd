package agent

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// killSession kills every process of the command's session, where there is no cgroup to find its children by.
//
// A session keeps its number, the command's pid, from being given out again for as long as it has a member. If there is
// a process of that number after the command has been reaped, then it is another's and no member is left.
func (x *command) killSession() {
	x.mu.Lock()
	reaped := x.pidfd < 0
	x.mu.Unlock()
	if reaped && unix.Kill(x.pid, 0) == nil {
		return
	}
	// A member may fork while the list is read. Its child is found by the next round.
	for range 100 {
		if !killMembers(x.pid) {
			return
		}
	}
}

// killMembers kills the processes of a session that live, and tells whether there were any.
func killMembers(session int) (any bool) {
	proc, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if state, of := parseStat(stat); of == session && state != 'Z' && state != 'X' {
			any = true
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	return any
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
