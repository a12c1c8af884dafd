package main

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
)

// topColumn is something that ps tells of a process, by one or more of ps's own names for it.
type topColumn struct {
	names   []string
	heading string
	text    func(topProcess) string
}

// topProcess is a process, and what its numbers are to be read against.
type topProcess struct {
	box.ProcessInfo
	now    time.Time
	memory uint64 // the machine's
	names  *topNames
}

// topNames looks the host's names up, each once.
type topNames struct{ users, groups map[uint32]string }

func newTopProcesses(list []box.ProcessInfo) []topProcess {
	names := &topNames{make(map[uint32]string), make(map[uint32]string)}
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info) // it fails for a bad address alone
	var all []topProcess
	for _, p := range list {
		all = append(all, topProcess{p, time.Now(), info.Totalram * uint64(info.Unit), names})
	}
	return all
}

var topColumns = []topColumn{
	{[]string{"user", "uname", "euser"}, "USER", topProcess.userName},
	{[]string{"uid", "euid"}, "UID", topProcess.userName}, // of ps -f, which writes names too
	{[]string{"group", "egroup"}, "GROUP", topProcess.groupName},
	{[]string{"gid", "egid"}, "GID", func(p topProcess) string { return strconv.FormatUint(uint64(p.GID), 10) }},
	{[]string{"pid"}, "PID", func(p topProcess) string { return strconv.Itoa(p.PID) }},
	{[]string{"ppid"}, "PPID", func(p topProcess) string { return strconv.Itoa(p.PPID) }},
	{[]string{"pgid", "pgrp"}, "PGID", func(p topProcess) string { return strconv.Itoa(p.PGID) }},
	{[]string{"sid", "sess", "session"}, "SID", func(p topProcess) string { return strconv.Itoa(p.Session) }},
	{[]string{"nspid"}, "NSPID", func(p topProcess) string { return strconv.Itoa(p.NSPID) }},
	{[]string{"c"}, "C", func(p topProcess) string { return fmt.Sprintf("%.0f", p.cpuShare()) }},
	{[]string{"%cpu", "pcpu"}, "%CPU", func(p topProcess) string { return fmt.Sprintf("%.1f", p.cpuShare()) }},
	{[]string{"%mem", "pmem"}, "%MEM", topProcess.memoryShare},
	{[]string{"vsz", "vsize"}, "VSZ", func(p topProcess) string { return strconv.FormatUint(p.Virtual>>10, 10) }},
	{[]string{"rss", "rssize", "rsz"}, "RSS", func(p topProcess) string { return strconv.FormatUint(p.Resident>>10, 10) }},
	{[]string{"tty", "tt", "tname"}, "TTY", topProcess.terminal},
	{[]string{"stat", "s", "state"}, "STAT", topProcess.state},
	{[]string{"stime", "start", "start_time", "bsdstart"}, "STIME", topProcess.started},
	{[]string{"lstart"}, "STARTED", func(p topProcess) string { return p.Started.Format(time.ANSIC) }},
	{[]string{"etime"}, "ELAPSED", func(p topProcess) string { return clockTime(p.now.Sub(p.Started)) }},
	{[]string{"time", "cputime"}, "TIME", func(p topProcess) string { return clockTime(p.CPU) }},
	{[]string{"ni", "nice"}, "NI", func(p topProcess) string { return strconv.Itoa(p.Nice) }},
	{[]string{"nlwp", "thcount"}, "NLWP", func(p topProcess) string { return strconv.Itoa(p.Threads) }},
	{[]string{"comm", "ucmd", "ucomm"}, "COMMAND", func(p topProcess) string { return p.Command }},
	{[]string{"cmd", "args", "command"}, "CMD", func(p topProcess) string { return p.Args }},
}

func topColumnNames() []string {
	var names []string
	for _, c := range topColumns {
		names = append(names, c.names[0])
	}
	return names
}

func findTopColumn(name string) (topColumn, error) {
	name, heading, renamed := strings.Cut(name, "=") // as ps has it: pid=NUMBER
	for _, c := range topColumns {
		if slices.Contains(c.names, strings.ToLower(name)) {
			if renamed {
				c.heading = heading
			}
			return c, nil
		}
	}
	return topColumn{}, fmt.Errorf("top: no column %q: want one of %s", name, strings.Join(topColumnNames(), ", "))
}

// userName is the host's name, or its number if it has none.
func (p topProcess) userName() string {
	return lookUp(p.names.users, p.UID, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (p topProcess) groupName() string {
	return lookUp(p.names.groups, p.GID, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func lookUp(known map[uint32]string, id uint32, find func(string) (string, error)) string {
	name, ok := known[id]
	if !ok {
		number := strconv.FormatUint(uint64(id), 10)
		var err error
		if name, err = find(number); err != nil {
			name = number
		}
		known[id] = name
	}
	return name
}

// cpuShare is that of one processor, over the process's life.
func (p topProcess) cpuShare() float64 {
	life := p.now.Sub(p.Started)
	if life <= 0 {
		return 0
	}
	return float64(p.CPU) / float64(life) * 100
}

func (p topProcess) memoryShare() string {
	if p.memory == 0 {
		return "0.0"
	}
	return fmt.Sprintf("%.1f", float64(p.Resident)/float64(p.memory)*100)
}

// terminal is a name for the device number of /proc/PID/stat, see devices.txt of the kernel's documentation.
func (p topProcess) terminal() string {
	const (
		pts      = 136 // and seven more
		consoles = 4
		serial   = 64
	)
	major, minor := unix.Major(p.Terminal), unix.Minor(p.Terminal)
	switch {
	case p.Terminal == 0:
		return "?"
	case major >= pts && major < pts+8:
		return fmt.Sprintf("pts/%d", (major-pts)<<8|minor)
	case major == consoles && minor < serial:
		return fmt.Sprintf("tty%d", minor)
	case major == consoles:
		return fmt.Sprintf("ttyS%d", minor-serial)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

// state is ps's: what it does, and behind it how.
func (p topProcess) state() string {
	s := p.State
	switch {
	case p.Nice < 0:
		s += "<"
	case p.Nice > 0:
		s += "N"
	}
	if p.Session == p.PID {
		s += "s"
	}
	if p.Threads > 1 {
		s += "l"
	}
	return s
}

// started is the time of day, or the day for what is older.
func (p topProcess) started() string {
	if p.now.Sub(p.Started) < 24*time.Hour {
		return p.Started.Format("15:04")
	}
	return p.Started.Format("Jan02")
}

// clockTime is [DAYS-]HH:MM:SS.
func clockTime(d time.Duration) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		text = fmt.Sprintf("%d-%s", days, text)
	}
	return text
}
