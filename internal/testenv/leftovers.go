package testenv

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// kind is one sort of thing that a test can leave behind. Its list names each that there is now; equal names count.
type kind struct {
	name string
	list func() ([]string, error)
}

var ownKinds = []kind{
	{"process", listChildren},
	{"file descriptor", listDescriptors},
	{"temporary file", func() ([]string, error) { return listFolder(os.TempDir()) }},
}

var hostKinds = []kind{
	{"mount", listMounts},
	{"cgroup", listCgroups},
	{"link", listLinks},
	{"network namespace", func() ([]string, error) { return listFolder("/run/netns") }},
	{"loop device", listLoopDevices},
}

// snapshot is what there was of each kind, with how many of each name.
type snapshot struct {
	kinds []kind
	held  []map[string]int
}

func take(kinds []kind) snapshot {
	s := snapshot{kinds: kinds}
	for _, k := range kinds {
		s.held = append(s.held, k.count())
	}
	return s
}

func (k kind) count() map[string]int {
	names, err := k.list()
	if err != nil {
		names = []string{"cannot be listed: " + err.Error()}
	}
	count := make(map[string]int)
	for _, name := range names {
		count[name]++
	}
	return count
}

// left names what is there now and was not when the snapshot was taken.
func (s snapshot) left() []string {
	var left []string
	for i, k := range s.kinds {
		for name, n := range k.count() {
			if more := n - s.held[i][name]; more > 1 {
				left = append(left, fmt.Sprintf("%s %s (%d times)", k.name, name, more))
			} else if more == 1 {
				left = append(left, k.name+" "+name)
			}
		}
	}
	slices.Sort(left)
	return left
}

// leftAfter is left, once nothing is or the time is over.
func (s snapshot) leftAfter(limit time.Duration) []string {
	deadline := time.Now().Add(limit)
	for {
		left := s.left()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// listChildren names the processes whose parent this is. One that has ended and waits to be reaped holds nothing.
func listChildren() ([]string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []string
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has gone meanwhile
		}
		pid, rest, _ := bytes.Cut(text, []byte(" ("))
		end := bytes.LastIndexByte(rest, ')') // a program's name may hold anything
		if end < 0 {
			continue
		}
		fields := strings.Fields(string(rest[end+1:])) // state, parent, ...
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		line := strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		children = append(children, fmt.Sprintf("%s: %s", pid, line))
	}
	return children, nil
}

// listDescriptors names what this process has open. Numbers that tell pipes and sockets of a kind apart are left out,
// since descriptors are opened anew all the time.
func listDescriptors() ([]string, error) {
	const folder = "/proc/self/fd"
	numbers, err := listFolder(folder)
	if err != nil {
		return nil, err
	}
	var open []string
	for _, number := range numbers {
		target, err := os.Readlink(filepath.Join(folder, number))
		if err != nil || strings.HasPrefix(target, "/proc/") {
			continue // the one that listed the folder
		}
		if form, _, ok := strings.Cut(target, ":["); ok && form != "anon_inode" {
			target = form
		}
		open = append(open, target)
	}
	return open, nil
}

func listFolder(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func listMounts() ([]string, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(mounts))
	for i, m := range mounts {
		names[i] = fmt.Sprintf("%s (%s)", m.Mountpoint, m.FSType)
	}
	return names, nil
}

func listCgroups() ([]string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "cgroup" && m.FSType != "cgroup2", false
	})
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, m := range mounts {
		err := filepath.WalkDir(m.Mountpoint, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil // a group may go while it is walked
		})
		if err != nil {
			return nil, err
		}
	}
	return groups, nil
}

func listLinks() ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(links))
	for i, l := range links {
		names[i] = l.Name
	}
	return names, nil
}

func listLoopDevices() ([]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var bound []string
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil {
			bound = append(bound, strings.TrimSpace(string(text)))
		}
	}
	return bound, nil
}
