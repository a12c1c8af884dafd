package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoLog tells of a box in the foreground, whose output went to its terminal.
var ErrNoLog = errors.New("it ran in the foreground, and its output went there; only one that was started with -d or -t has a log")

// Logs calls f for each entry of the box's log; with follow also for those to come, until the box's end.
func (r *Record) Logs(ctx context.Context, follow bool, f func(Entry) error) error {
	if !r.Options.Detach {
		return fmt.Errorf("logs of %s: %w", r.Name, ErrNoLog)
	}
	path := r.data(logFile)
	if old, err := os.Open(path + older); err == nil {
		_, err = readEntries(old, f)
		old.Close()
		if err != nil {
			return err
		}
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { file.Close() }()
	if !follow {
		_, err := readEntries(file, f)
		return err
	}
	return r.follow(ctx, file, path, f)
}

func (r *Record) follow(ctx context.Context, file *os.File, path string, f func(Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Keeper.Wait(ctx)
	}()
	changes, err := watch(path)
	if err != nil {
		return err
	}
	defer changes.Close()
	var at int64
	for last := false; ; {
		if _, err := file.Seek(at, io.SeekStart); err != nil {
			return err
		}
		n, err := readEntries(file, f)
		if err != nil {
			return err
		}
		at += n
		if renamed(file, path) {
			next, err := os.Open(path)
			if err != nil {
				return nil // removed, with the box
			}
			file.Close()
			file, at = next, 0
			changes.Close()
			if changes, err = watch(path); err != nil {
				return nil
			}
			continue
		}
		if last {
			return nil
		}
		select {
		case <-ended:
			last = true // what was written before the end is there now
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			continue
		default:
		}
		// The end of the keeper wakes nobody who reads inotify: look again now and then.
		_ = changes.SetReadDeadline(time.Now().Add(followEvery))
		_, err = changes.Read(make([]byte, 4096))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

const followEvery = 100 * time.Millisecond

// watch gives a file that is readable whenever the one at path has changed.
func watch(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_ATTRIB); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// renamed tells whether path is another file by now.
func renamed(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(path)
	return err == nil && !os.SameFile(mine, now)
}
