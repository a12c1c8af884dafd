// Package program finds a program to execute as a shell does (POSIX XCU 2.9.1.4): by its name, the environment that it
// will have, and the folder that it will start in.
package program

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultPath is searched where an environment has no PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var (
	// ErrNotFound is a program that is not there, a shell's status 127. It is exec.ErrNotFound.
	ErrNotFound error = notFound{}
	// ErrNotExecutable is a program that is there and cannot be executed, a shell's status 126.
	ErrNotExecutable = errors.New("not executable")
)

// notFound is os/exec's error without its words about $PATH.
type notFound struct{}

func (notFound) Error() string        { return "command not found" }
func (notFound) Is(target error) bool { return target == exec.ErrNotFound }

// Find returns the path to execute, which may be relative to dir.
func Find(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, check(from(dir, name))
	}
	search, ok := Getenv(env, "PATH")
	if !ok {
		search = DefaultPath
	}
	failure := fmt.Errorf("%w in PATH", ErrNotFound)
	for _, folder := range filepath.SplitList(search) {
		candidate := filepath.Join(folder, name)
		if !strings.Contains(candidate, "/") {
			candidate = "./" + name // an empty element is the working directory
		}
		switch err := check(from(dir, candidate)); {
		case err == nil:
			return candidate, nil
		case errors.Is(err, ErrNotExecutable):
			failure = err // unless a later folder has one that is
		}
	}
	return "", failure
}

// from is a path as the program sees it from its working directory.
func from(dir, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return dir + "/" + name
}

// check tells why a file is not a program.
func check(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %w", ErrNotExecutable, unix.EACCES)
	case err != nil:
		return ErrNotFound
	case info.IsDir():
		return fmt.Errorf("%w: %w", ErrNotExecutable, unix.EISDIR)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%w: %w", ErrNotExecutable, unix.EACCES)
	}
	return nil
}

// StartError explains execve's error for a program that has been found. ENOENT is then its interpreter's: POSIX wants
// 126 for a command that was found and cannot be executed. Other errors, such as fork's, come back as they are.
func StartError(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: its interpreter is missing", ErrNotExecutable)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.ENOTDIR),
		errors.Is(err, unix.E2BIG), errors.Is(err, unix.ETXTBSY), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %w", ErrNotExecutable, err)
	}
	return err
}

// Getenv returns a variable of an environment in which each is set once.
func Getenv(env []string, name string) (value string, ok bool) {
	for _, pair := range env {
		if key, value, ok := strings.Cut(pair, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// Environ lays environments over one another, the later ones on top. Of a variable that is set twice, some programs
// would see the first value and some the last: so each is set once in what it returns.
func Environ(layers ...[]string) []string {
	at := make(map[string]int)
	var env []string
	for _, layer := range layers {
		for _, pair := range layer {
			name, _, ok := strings.Cut(pair, "=")
			i, seen := at[name]
			switch {
			case !ok || name == "": // not a variable, and not for us to judge: execve(2) passes it on
				env = append(env, pair)
			case seen:
				env[i] = pair
			default:
				at[name] = len(env)
				env = append(env, pair)
			}
		}
	}
	return env
}
