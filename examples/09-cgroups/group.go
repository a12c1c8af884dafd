package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is for a kernel that does not do what we wait for.
const patience = 30 * time.Second

// group is a folder.
type group struct{ dir string }

func (v *version) makeGroup(controller string) (*group, error) {
	root, err := v.root(controller)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(root, "lesson-") // mkdir(2), with a name that nobody has
	return &group{dir}, err
}

// remove is rmdir(2), which takes the folder with its files, as they are the
// kernel's. A process that has just ended may still count for a moment.
func (g *group) remove() error {
	return waitFor("rmdir "+g.dir, func() (bool, error) {
		err := unix.Rmdir(g.dir)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return true, err
	})
}

// join moves a process into the group, with all its threads.
func (g *group) join(pid int) error {
	return g.write(setting{"cgroup.procs", strconv.Itoa(pid)})
}

func (g *group) has(file string) bool {
	_, err := os.Stat(filepath.Join(g.dir, file))
	return err == nil
}

func (g *group) read(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	return strings.TrimSpace(string(text)), err
}

func (g *group) write(s setting) error {
	f, err := os.OpenFile(filepath.Join(g.dir, s.file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(s.value); err != nil {
		return fmt.Errorf("write %q: %w", s.value, err)
	}
	return nil
}

// set is write, told.
func (g *group) set(settings ...setting) error {
	var told []string
	for _, s := range settings {
		if err := g.write(s); err != nil {
			return err
		}
		told = append(told, fmt.Sprintf("write(%s, %q)", s.file, s.value))
	}
	fmt.Println("  " + strings.Join(told, ", "))
	return nil
}

// count reads a file of lines such as "oom_kill 1".
func (g *group) count(file, key string) (int, error) {
	text, err := g.read(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("%s has no %s", filepath.Join(g.dir, file), key)
}

func waitFor(what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: not after %v", what, patience)
}
