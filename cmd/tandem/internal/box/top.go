package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container"
)

// ProcessInfo is a process of a box's, as the host sees it.
type ProcessInfo struct {
	PID, PPID, PGID, Session int
	NSPID                    int // in the box's own PID namespace
	UID, GID                 uint32
	Command                  string // its name, which it may choose
	Args                     string // what it was started with, which it may write over
	State                    string
	Terminal                 uint64 // a device number, 0 is none
	Threads, Nice            int
	CPU                      time.Duration // used, on all processors
	Started                  time.Time
	Virtual, Resident        uint64 // bytes
}

// Processes reads what there is to know of the box's processes from the host's /proc. Nothing of the box's is executed for
// that, and it needs no ps.
func (r *Record) Processes() ([]ProcessInfo, error) {
	c, err := r.running()
	if err != nil {
		return nil, err
	}
	pids, err := c.Pids()
	if errors.Is(err, container.ErrNotSupported) { // a user's box has no cgroup
		pids, err = descendants(r.PID)
	}
	if err != nil {
		return nil, err
	}
	boot, err := bootTime()
	if err != nil {
		return nil, err
	}
	list := []ProcessInfo{}
	for _, pid := range pids {
		p, err := readProcess(pid, boot)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// descendants are a process, its children, theirs and so on. Whoever is left alone in a box becomes a child of its first.
func descendants(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if text, err := os.ReadFile("/proc/" + e.Name() + "/stat"); err == nil {
			if p, err := parseProcess(text, time.Time{}); err == nil {
				children[p.PPID] = append(children[p.PPID], child)
			}
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

func bootTime() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, os.NewSyscallError("clock_gettime", err)
	}
	return time.Now().Add(-time.Duration(since.Nano())), nil
}

func readProcess(pid int, boot time.Time) (ProcessInfo, error) {
	folder := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(folder + "stat")
	if err != nil {
		return ProcessInfo{}, err
	}
	status, err := os.ReadFile(folder + "status")
	if err != nil {
		return ProcessInfo{}, err
	}
	args, err := os.ReadFile(folder + "cmdline")
	if err != nil {
		return ProcessInfo{}, err
	}
	p, err := parseProcess(stat, boot)
	if err != nil {
		return p, fmt.Errorf("%sstat: %w", folder, err)
	}
	if err := p.parseStatus(status); err != nil {
		return p, fmt.Errorf("%sstatus: %w", folder, err)
	}
	p.Args = printable(string(bytes.ReplaceAll(bytes.TrimRight(args, "\x00"), []byte{0}, []byte{' '})))
	if p.Args == "" { // a zombie, or a thread of the kernel's
		p.Args = "[" + p.Command + "]"
	}
	return p, nil
}

// clockTick is what times in /proc are counted in: USER_HZ, which is 100 on all of x86.
const clockTick = time.Second / 100

// parseProcess reads /proc/PID/stat, see proc_pid_stat(5).
func parseProcess(text []byte, boot time.Time) (p ProcessInfo, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, errors.New("no program name")
	}
	p.Command = printable(string(text[open+1 : end]))
	// Fields are counted from 1, and what follows the name is field 3.
	fields := bytes.Fields(text[end+1:])
	const last = 24
	if len(fields) <= last-3 {
		return p, fmt.Errorf("%d fields after the program name", len(fields))
	}
	var errs []error
	number := func(field int) int64 {
		n, err := strconv.ParseInt(string(fields[field-3]), 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("field %d: %w", field, err))
		}
		return n
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	if err != nil {
		return p, err
	}
	p.PID, p.State = pid, string(fields[0])
	p.PPID, p.PGID, p.Session = int(number(4)), int(number(5)), int(number(6))
	p.Terminal = uint64(uint32(number(7)))
	p.CPU = time.Duration(number(14)+number(15)) * clockTick
	p.Nice, p.Threads = int(number(19)), int(number(20))
	p.Started = boot.Add(time.Duration(number(22)) * clockTick)
	p.Virtual, p.Resident = uint64(number(23)), uint64(number(24))*uint64(os.Getpagesize())
	return p, errors.Join(errs...)
}

// parseStatus reads what of /proc/PID/status is not in stat, see proc_pid_status(5).
func (p *ProcessInfo) parseStatus(text []byte) error {
	var errs []error
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		number := func(s string) uint64 {
			n, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
			return n
		}
		switch name { // of user and group the second is the effective one
		case "Uid":
			p.UID = uint32(number(fields[min(1, len(fields)-1)]))
		case "Gid":
			p.GID = uint32(number(fields[min(1, len(fields)-1)]))
		case "NSpid":
			p.NSPID = int(number(fields[len(fields)-1]))
		}
	}
	return errors.Join(errs...)
}

// printable has a question mark for what a terminal would act on: a box's processes choose these texts.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\uFFFD' {
			return '?'
		}
		return c
	}, s)
}
