// Overlay stacks folders by hand, and looks into each after every change.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideWord as the first argument makes this program the process that has a
// mount namespace of its own: its mounts are gone with it.
const insideWord = "inside"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) == 2 && args[0] == insideWord {
		return inside(args[1])
	}
	dir, err := os.MkdirTemp("", "lesson")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	cmd := exec.Command("/proc/self/exe", insideWord, dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	return cmd.Run()
}

func inside(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount / private: %w", err)
	}
	unix.Umask(0o022) // the lesson shows modes
	// An upper folder has to be on a file system with trusted.* attributes,
	// and not on an overlay itself. A tmpfs is fit, wherever this runs.
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	for _, part := range []func() error{stack, copyUp, whiteout, opaque, attributes, layers, shared} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// mountOverlay stacks the lower folders, the uppermost first, as the option
// wants them.
func mountOverlay(merged, lower, upper, work string) error {
	for _, dir := range []string{merged, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay on %s, %s: %w", merged, options, err)
	}
	fmt.Printf("  mount(overlay, %s, %q)\n", merged, options)
	return nil
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
