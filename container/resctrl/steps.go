package resctrl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// Steps make the class, or check that it is there, and put the process into it. The number is read when they run.
func (g *Group) Steps(pid *int) []plan.Step {
	var steps []plan.Step
	switch {
	case g.own:
		steps = append(steps, plan.Step{
			Op: "mkdir", Object: g.path, Why: "a class of service of the container's own",
			Do:   func() error { return g.explain(unix.Mkdir(g.path, 0o755)) },
			Undo: func() error { return Remove([]string{g.path}) },
		})
	case len(g.lines) > 0:
		steps = append(steps, plan.Step{
			Op: "mkdir", Object: g.path, Why: "the class of service, unless it is there; then it has to be as wanted",
			Do: g.makeShared, Undo: g.unmakeShared,
		})
	default:
		steps = append(steps, plan.Step{
			Op: "stat", Object: g.path, Why: "a class of service that somebody has set up",
			Do: g.exists,
		})
	}
	if len(g.lines) > 0 {
		steps = append(steps, plan.Step{
			Op: "write", Object: g.file("schemata"), Args: []plan.Arg{plan.A("data", fmt.Sprintf("%q", g.text()))},
			Why: "which part of each cache, and how much bandwidth",
			Do:  func() error { return g.write("schemata", g.text()) },
		})
	}
	if g.monitor != "" {
		steps = append(steps, plan.Step{
			Op: "mkdir", Object: g.monitor, Why: "counts what the container uses by itself",
			Do:   func() error { return g.explain(unix.Mkdir(g.monitor, 0o755)) },
			Undo: func() error { return Remove([]string{g.monitor}) },
		})
	}
	for _, file := range g.Tasks() {
		steps = append(steps, plan.Step{
			Op: "write", Object: file, Args: []plan.Arg{plan.A("data", "the process's number")}, Why: "all that it starts is in it too",
			Do: func() error { return Join(file, *pid) },
		})
	}
	return steps
}

// Join puts a process into a class, by one of the files that Tasks gave.
func Join(file string, pid int) error {
	if pid <= 0 { // 0 would be this process
		return fmt.Errorf("resctrl: %w: process number %d", ErrInvalid, pid)
	}
	return os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644)
}

func (g *Group) file(name string) string { return filepath.Join(g.path, name) }

func (g *Group) text() string { return strings.Join(g.lines, "\n") + "\n" }

func (g *Group) exists() error {
	info, err := os.Stat(g.file("tasks"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s.closID: %w, and nothing says what it should be like", field, err)
	}
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s.closID: %s is no class of service", field, g.path)
	}
	return err
}

func (g *Group) makeShared() error {
	err := unix.Mkdir(g.path, 0o755)
	g.made = err == nil
	if !errors.Is(err, fs.ErrExist) {
		return g.explain(err)
	}
	if len(g.checked) == 0 {
		return nil
	}
	has, err := os.ReadFile(g.file("schemata"))
	if err != nil {
		return err
	}
	if err := compare(g.checked, string(has)); err != nil {
		return fmt.Errorf("%s: the class of service %s is not as wanted: %w", field, g.path, err)
	}
	return nil
}

func (g *Group) unmakeShared() error {
	if !g.made {
		return nil
	}
	return Remove([]string{g.path})
}

// explain says what the kernel's bare numbers mean here (resctrl.rst, "Resource alloc and monitor groups").
func (g *Group) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: the processor has no class of service, or no counter, left (%s)", err, status(g.path))
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: it is somebody else's, as the container is only being made", err)
	}
	return err
}

func (g *Group) write(name, text string) error { return Write(g.file(name), text) }

// Write writes to a file of a class, such as its schemata. What the kernel does not like of it, it says elsewhere.
func Write(file, text string) error {
	err := os.WriteFile(file, []byte(text), 0o644)
	if err == nil {
		return nil
	}
	if said := status(filepath.Dir(file)); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// status is info/last_cmd_status of the file system that a class is in: why the last change was refused.
func status(class string) string {
	for _, root := range []string{class, filepath.Dir(class)} {
		if text, err := os.ReadFile(filepath.Join(root, "info", "last_cmd_status")); err == nil {
			if said := strings.TrimSpace(string(text)); said != "ok" {
				return said
			}
		}
	}
	return ""
}
