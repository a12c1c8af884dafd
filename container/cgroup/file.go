package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/internal/kernfile"
)

// writeFile puts a value to one of the kernel's files with one write, which is how it takes it: whole or not at all.
// It makes no file, so that a name that the kernel does not know is an error.
func writeFile(path, value string) error {
	fd, err := openFile(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Write(fd, []byte(value))
		switch {
		case errors.Is(err, unix.EINTR): // a memory limit is reclaimed down to while signals of Go's scheduler arrive
			continue
		case err != nil:
			return denied(err)
		case n != len(value):
			return fmt.Errorf("%d of %d bytes were taken", n, len(value))
		}
		return nil
	}
}

func openFile(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		switch {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EINTR):
			return -1, &openError{denied(err)}
		}
	}
}

// openError tells an error of opening a file from the same one of writing to it.
type openError struct{ error }

func (e *openError) Unwrap() error { return e.error }

// readFile returns all of one of the kernel's files.
func readFile(path string) (string, error) {
	text, err := kernfile.Read(path)
	if errors.Is(err, syscall.ENODEV) { // the group was removed since the file was opened
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	return string(text), denied(err)
}

// readUint reads a file of one number. "max" is the largest.
func readUint(path string) (uint64, error) {
	text, err := readFile(path)
	if err != nil {
		return 0, err
	}
	n, err := parseUint(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// parent is the group above.
func parent(f folder) folder { return folder{f.Hierarchy, filepath.Dir(f.path)} }

func parseUint(text string) (uint64, error) {
	if text == noLimit {
		return 1<<64 - 1, nil
	}
	if strings.HasPrefix(text, "-") { // a counter that raced below 0, as the kernel prints some
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return 0, nil
		}
	}
	return strconv.ParseUint(text, 10, 64)
}
