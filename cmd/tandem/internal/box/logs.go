package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoLog tells of a box in the foreground, whose output went to its terminal.
var ErrNoLog = errors.New("it ran in the foreground, and its output went there; only one that was started with -d or -t has a log")

// LogOptions say which entries of a log are wanted.
type LogOptions struct {
	Since, Until time.Time // zero is from the first, and to the last
	Last         int       // so many of those that there are; negative is all
	Follow       bool      // those to come too, until the box's end
}

// Logs calls f for entries of the box's log.
func (r *Record) Logs(ctx context.Context, o LogOptions, f func(Entry) error) error {
	if !r.Options.Detach {
		return fmt.Errorf("logs of %s: %w", r.Name, ErrNoLog)
	}
	if o.Follow && !o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, o.Until, errUntil)
		defer cancel()
	}
	err := r.logs(ctx, o, func(e Entry) error {
		switch {
		case e.Time.Before(o.Since):
			return nil
		case !o.Until.IsZero() && e.Time.After(o.Until):
			return errUntil
		}
		return f(e)
	})
	if errors.Is(err, errUntil) {
		return nil
	}
	return err
}

func (r *Record) logs(ctx context.Context, o LogOptions, f func(Entry) error) error {
	last, show := []Entry{}, f
	if o.Last >= 0 {
		show = func(e Entry) error {
			if last = append(last, e); len(last) > o.Last {
				last = slices.Delete(last, 0, len(last)-o.Last)
			}
			return nil
		}
	}
	path := r.data(logFile)
	if old, err := os.Open(path + older); err == nil {
		_, err = readEntries(old, show)
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
	read, err := readEntries(file, show)
	if err != nil {
		return err
	}
	for _, e := range last {
		if err := f(e); err != nil {
			return err
		}
	}
	if !o.Follow {
		return nil
	}
	return r.follow(ctx, file, read, path, f)
}

// follow reads on from what was read of a file.
func (r *Record) follow(ctx context.Context, file *os.File, at int64, path string, f func(Entry) error) error {
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
