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
	file, before, err := openLogs(r.data(logFile))
	if err != nil {
		return err
	}
	if before != nil {
		_, err = readEntries(before, show)
		before.Close()
	}
	if file == nil {
		return err
	}
	reader := &logReader{file: file, path: r.data(logFile)}
	defer func() { reader.file.Close() }()
	if err == nil {
		err = reader.read(show)
	}
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
	return r.follow(ctx, reader, f)
}

// openLogs opens a log and the one before it, as they are at one moment. What is not there is nil.
func openLogs(path string) (file, before *os.File, err error) {
	for {
		if file, err = os.Open(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, nil, err
		}
		before, err = os.Open(path + older)
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err == nil && (file == nil || !renamed(file, path)) {
			return file, before, nil
		}
		for _, f := range []*os.File{file, before} {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// logReader reads a log that is begun anew under its name.
type logReader struct {
	path string
	file *os.File
	at   int64 // how much of it was read
}

func (l *logReader) read(f func(Entry) error) error {
	if _, err := l.file.Seek(l.at, io.SeekStart); err != nil {
		return err
	}
	n, err := readEntries(l.file, f)
	l.at += n
	return err
}

// next goes on with the file that was begun after one that was renamed, or, if that is gone, with the first that is kept.
func (l *logReader) next() error {
	file, err := os.Open(l.path)
	if err == nil && renamed(l.file, l.path+older) {
		file.Close()
		file, err = os.Open(l.path + older)
	}
	if err != nil {
		return err
	}
	l.file.Close()
	l.file, l.at = file, 0
	return nil
}

// follow reads on.
func (r *Record) follow(ctx context.Context, l *logReader, f func(Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Keeper.Wait(ctx)
	}()
	changes, err := watch(r.data(""))
	if errors.Is(err, os.ErrNotExist) {
		return l.read(f) // it was removed, with its log
	}
	if err != nil {
		return err
	}
	defer changes.Close()
	for last := false; ; {
		full := renamed(l.file, l.path) // nothing more comes to it
		if err := l.read(f); err != nil {
			return err
		}
		if full {
			if l.next() != nil {
				return nil // removed, with the box
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

// watch gives a file that is readable whenever one in the folder at path has changed.
func watch(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_DELETE_SELF); err != nil {
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
