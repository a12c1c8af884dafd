package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher waits until the kernel says that something has changed, without a thread that blocks.
//
// The files of version 2 that tell of events (cgroup.events, memory.events) have EPOLLPRI when they have changed since
// they were last read through that descriptor (kernfs_generic_poll in fs/kernfs/file.c). They make inotify events as
// well, but a host has few of those to give: fs.inotify.max_user_instances is 128. The epoll descriptor is itself one
// that Go's poller can wait for.
type watcher struct {
	epoll *os.File
	fd    int        // of epoll: File.Fd would make it blocking
	files []*os.File // closed with the watcher
}

func newWatcher() (*watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or Go would not poll it
		unix.Close(fd)
		return nil, fmt.Errorf("set epoll descriptor non-blocking: %w", err)
	}
	return &watcher{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd}, nil
}

func (w *watcher) close() {
	for _, f := range w.files {
		f.Close()
	}
	w.epoll.Close()
}

func (w *watcher) add(f *os.File, events uint32) error {
	fd := int(f.Fd())
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch %s: %w", f.Name(), err)
	}
	return nil
}

func (w *watcher) remove(f *os.File) error {
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, int(f.Fd()), nil); err != nil {
		return fmt.Errorf("watch %s no more: %w", f.Name(), err)
	}
	return nil
}

// open watches one of the kernel's files of events.
func (w *watcher) open(path string) (*os.File, error) {
	fd, err := openFile(path, unix.O_RDONLY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	w.files = append(w.files, f)
	return f, w.add(f, unix.EPOLLPRI)
}

// wait returns when there is something to read, or the context's cause.
func (w *watcher) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.epoll.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var waitErr error
	events := make([]unix.EpollEvent, 1)
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), events, 0)
		if errors.Is(err, unix.EINTR) {
			return false
		}
		waitErr = err
		return n != 0 || err != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return errors.Join(err, waitErr)
}

// reread reads a file of the kernel's from its start, which also makes it quiet until it changes again.
func reread(f *os.File) (string, error) {
	buffer := make([]byte, 4096) // larger than any file of events
	n, err := f.ReadAt(buffer, 0)
	if n == 0 && err != nil {
		if errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("%w: %w", ErrGone, err)
		}
		return "", err
	}
	return string(buffer[:n]), nil
}

// until waits for a file of events to satisfy done.
func until(ctx context.Context, path string, done func(text string) (bool, error)) error {
	w, err := newWatcher()
	if err != nil {
		return err
	}
	defer w.close()
	f, err := w.open(path)
	if err != nil {
		return err
	}
	for {
		text, err := reread(f)
		if err != nil {
			return err
		}
		if ok, err := done(text); ok || err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// pause is for what the kernel has no event for: version 1's freezer, and a group that is gone in a moment. The pauses
// double up to a bound, so that a short wait is short and a long one costs little.
type pause struct{ next time.Duration }

const (
	firstPause = 20 * time.Microsecond
	lastPause  = 10 * time.Millisecond
)

func (p *pause) wait(ctx context.Context) error {
	p.next = min(max(firstPause, 2*p.next), lastPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
