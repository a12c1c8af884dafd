package eventfd

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A Waiter sleeps until an eventfd is signalled. It has a thread asleep in
// epoll_wait(2) meanwhile.
//
// It watches for edges: a signal wakes it once, whatever the counter is, and the
// counter stays as it is. So one wake-up is one system call, and a peer that has the
// same eventfd can keep a signal from getting through, but not have us block in a
// read(2) of a counter that it has just taken away.
type Waiter struct {
	e      *FD
	epoll  int
	events [2]unix.EpollEvent
}

// NewWaiter makes a waiter for the eventfd and, if wanted, one more file that can be
// read. Wait returns once at first if there is something already.
func (e *FD) NewWaiter(also ...*os.File) (w *Waiter, err error) {
	if !e.borrow() {
		return nil, fmt.Errorf("eventfd: wait: %w", os.ErrClosed)
	}
	defer e.give()
	w = &Waiter{e: e}
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: wait: create epoll: %w", err)
	}
	if err := w.watch(also); err != nil {
		unix.Close(w.epoll)
		return nil, err
	}
	e.mu.Lock()
	e.waiters = append(e.waiters, w)
	e.mu.Unlock()
	return w, nil
}

func (w *Waiter) watch(also []*os.File) error {
	edge := func(fd int) error {
		return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)})
	}
	if err := edge(w.e.num); err != nil {
		return fmt.Errorf("eventfd: wait: add: %w", err)
	}
	for _, f := range also {
		raw, err := f.SyscallConn()
		if err != nil {
			return fmt.Errorf("eventfd: wait: add %s: %w", f.Name(), err)
		}
		var addErr error
		if err := raw.Control(func(fd uintptr) { addErr = edge(int(fd)) }); err != nil {
			return fmt.Errorf("eventfd: wait: add %s: %w", f.Name(), err)
		}
		if addErr != nil {
			return fmt.Errorf("eventfd: wait: add %s: %w", f.Name(), addErr)
		}
	}
	return nil
}

// Wait returns when the eventfd was signalled, or something new can be read from the
// other file, since the Wait before, and now and then for no reason. What came is for
// the caller to find out: he looks after each Wait, and reads the file until it has no
// more. One goroutine at a time. The error is os.ErrClosed once the eventfd is closed,
// also for a Wait that was blocked then; the other file may be closed at any time, and
// wakes nobody.
func (w *Waiter) Wait() error {
	if !w.e.borrow() {
		return fmt.Errorf("eventfd: wait: %w", os.ErrClosed)
	}
	defer w.e.give()
	_, err := unix.EpollWait(w.epoll, w.events[:], -1)
	switch {
	case w.e.closed.Load():
		return fmt.Errorf("eventfd: wait: %w", os.ErrClosed)
	case err != nil && err != unix.EINTR:
		return fmt.Errorf("eventfd: wait: %w", err)
	}
	return nil
}

// rouse has Wait return, now and whenever it is called again: there is always
// something that can be read or written, even if a peer fills or empties the counter.
// The error would be that the Waiter was closed. Called with the FD's mu held.
func (w *Waiter) rouse() {
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, w.e.num, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT})
}

// Close ends the watching. It is called once, and no Wait may be going on.
func (w *Waiter) Close() {
	w.e.mu.Lock()
	w.e.waiters = slices.DeleteFunc(w.e.waiters, func(x *Waiter) bool { return x == w })
	w.e.mu.Unlock()
	unix.Close(w.epoll)
}
