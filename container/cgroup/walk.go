package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A walker goes from group to group below one. It holds the one in which it is by a descriptor, and no other: a container
// that may divide its group can nest groups until no system call takes their path (PATH_MAX), and deeper than a process
// has descriptors.
type walker struct {
	dir  *os.File
	path string // of the group, empty if it is too long
	rest []string
	way  []level // to the group, from the first one
}

// level is a group above the one where a walker is.
type level struct {
	path string
	rest []string // groups in it that are yet to be gone to
	name string   // of the one that was gone into
}

// walk begins at a group.
func walk(path string) (*walker, error) {
	w := &walker{path: path}
	return w, w.enter(unix.AT_FDCWD, path)
}

func (w *walker) close() { w.dir.Close() }

// enter goes on in a group, and sees which there are in it.
func (w *walker) enter(from int, name string) error {
	fd, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), name)
	entries, err := dir.ReadDir(-1)
	if err != nil {
		dir.Close()
		return err
	}
	w.dir.Close() // of none at first, which does nothing
	w.dir, w.rest = dir, nil
	for _, e := range entries {
		if e.IsDir() {
			w.rest = append(w.rest, e.Name())
		}
	}
	return nil
}

// next is the name of the next group in this one.
func (w *walker) next() (name string, ok bool) {
	if len(w.rest) == 0 {
		return "", false
	}
	name, w.rest = w.rest[0], w.rest[1:]
	return name, true
}

// down goes into a group of the one where the walker is.
func (w *walker) down(name string) error {
	here := level{w.path, w.rest, name}
	if err := w.enter(int(w.dir.Fd()), name); err != nil {
		return err
	}
	w.way = append(w.way, here)
	if w.path != "" {
		w.path = filepath.Join(w.path, name)
	}
	if len(w.path)+maxName+1 >= unix.PathMax { // with a file's name behind it
		w.path = ""
	}
	return nil
}

// up goes back to the group above, and gives the name of the one that it comes from. At the first group it is false.
func (w *walker) up() (name string, ok bool, err error) {
	if len(w.way) == 0 {
		return "", false, nil
	}
	fd, err := unix.Openat(int(w.dir.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false, &fs.PathError{Op: "open", Path: "..", Err: err}
	}
	w.dir.Close()
	w.dir = os.NewFile(uintptr(fd), "..")
	last := w.way[len(w.way)-1]
	w.path, w.rest, w.way = last.path, last.rest, w.way[:len(w.way)-1]
	return last.name, true, nil
}

// folder is a path of the group for system calls.
func (w *walker) folder() string {
	if w.path != "" {
		return w.path
	}
	return fmt.Sprintf("/proc/self/fd/%d", w.dir.Fd())
}

// eachGroup calls do with a group and then those below it. What has gone is passed over, but for the first.
func eachGroup(path string, do func(dir string) error) error {
	w, err := walk(path)
	if err != nil {
		return err
	}
	defer w.close()
	if err := do(path); err != nil {
		return err
	}
	gone := func(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGone) }
	for {
		name, ok := w.next()
		if !ok {
			if _, ok, err := w.up(); !ok || err != nil {
				return err
			}
			continue
		}
		if err := w.down(name); gone(err) {
			continue
		} else if err != nil {
			return err
		}
		if err := do(w.folder()); err != nil && !gone(err) {
			return err
		}
	}
}
