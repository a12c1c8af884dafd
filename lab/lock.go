package lab

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("locked")

// lock opens the file or folder at path with the flags and locks it, waiting for whoever holds it. As its holder may
// remove it, a lock counts only if path still names what was locked. The lock goes with the last descriptor of the
// open file: a process that inherits one inherits the lock.
func lock(ctx context.Context, path string, flags int) (*os.File, error) {
	type locked struct {
		f   *os.File
		err error
	}
	for {
		done := make(chan locked, 1)
		go func() {
			f, err := openLocked(path, flags, unix.LOCK_EX)
			done <- locked{f, err}
		}()
		select {
		case l := <-done:
			if !errors.Is(l.err, errMoved) {
				return l.f, l.err
			}
		case <-ctx.Done():
			// Nothing interrupts flock(2) for a single thread: let go of the lock when it comes.
			go func() {
				if l := <-done; l.f != nil {
					l.f.Close()
				}
			}()
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock is lock that returns errLocked instead of waiting.
func tryLock(path string, flags int) (*os.File, error) {
	for {
		f, err := openLocked(path, flags, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, errMoved) {
			return f, err
		}
	}
}

// errMoved says that a path names something else than what has been locked.
var errMoved = errors.New("no longer at its path")

func openLocked(path string, flags, how int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	now, err := os.Stat(path)
	if err == nil {
		var held os.FileInfo
		if held, err = f.Stat(); err == nil && os.SameFile(held, now) {
			return f, nil
		}
	}
	f.Close()
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = errMoved
	}
	return nil, err
}

func flock(f *os.File, how int) error {
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case err != nil:
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		default:
			return nil
		}
	}
}
