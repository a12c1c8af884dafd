// Package eventfd owns Linux eventfds: the counters that KVM, vhost and a monitor
// use to wake each other.
//
// An FD is never in Go's network poller. Whatever is, is watched by an epoll
// instance for as long as it is open: each kick of a guest would wake a thread of
// this process, also where the kernel's vhost serves the queue and nobody here waits.
// He who waits does so in a thread, as he would in C (see Waiter): between the kick
// and the device there is one system call, and no scheduler but the kernel's.
package eventfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FD is one eventfd(2). All methods may be called at the same time from several
// goroutines, except that the counter which one Wait takes is not seen by another.
type FD struct {
	num int

	// use is held for reading by whoever uses the descriptor, so that Close does not
	// give its number to another file under their feet.
	use    sync.RWMutex
	closed atomic.Bool

	mu      sync.Mutex // guards waiters
	waiters []*Waiter

	// wait has one Wait at a time, and guards what is Wait's: a waiter, from the first one on, and a buffer, as one on the
	// stack would escape and cost an allocation each wake-up.
	wait sync.Mutex
	own  *Waiter
	buf  [8]byte
}

// one is what Signal adds to the counter. Only read.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// New makes an eventfd whose counter is zero.
func New() (*FD, error) {
	num, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: create: %w", err)
	}
	return &FD{num: num}, nil
}

// Adopt takes over an eventfd that came from elsewhere, such as a vhost-user peer.
// It closes the descriptor when it fails.
func Adopt(num int) (*FD, error) {
	if err := unix.SetNonblock(num, true); err != nil {
		unix.Close(num)
		return nil, fmt.Errorf("eventfd: adopt %d: %w", num, err)
	}
	return &FD{num: num}, nil
}

// Fd is the descriptor's number, for an ioctl. It stays owned by e and is valid
// until Close.
func (e *FD) Fd() int { return e.num }

// borrow keeps the descriptor open until give. It is false once e is closed.
func (e *FD) borrow() bool {
	e.use.RLock()
	if e.closed.Load() {
		e.use.RUnlock()
		return false
	}
	return true
}

func (e *FD) give() { e.use.RUnlock() }

// Signal adds one to the counter and so wakes whoever waits. It never blocks: a
// counter that is full, which only somebody else who has the eventfd can bring
// about, wakes its reader as it is. The error is os.ErrClosed after Close.
func (e *FD) Signal() error {
	if !e.borrow() {
		return fmt.Errorf("eventfd: signal: %w", os.ErrClosed)
	}
	defer e.give()
	_, err := retry(func() (int, error) { return unix.Write(e.num, one) })
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("eventfd: signal: %w", err)
	}
	return nil
}

// Wait blocks until the counter is not zero, sets it to zero and returns what it
// was. The error is os.ErrClosed once the eventfd is closed, also for a Wait that
// was blocked then.
func (e *FD) Wait() (uint64, error) {
	e.wait.Lock()
	defer e.wait.Unlock()
	if e.own == nil {
		w, err := e.NewWaiter()
		if err != nil {
			return 0, err
		}
		e.own = w
	}
	for {
		if n, err := e.take(e.buf[:]); n > 0 || err != nil {
			return n, err
		}
		if err := e.own.Wait(); err != nil {
			return 0, err
		}
	}
}

// Pending tells whether the counter is not zero, without changing it.
func (e *FD) Pending() bool {
	if !e.borrow() {
		return false
	}
	defer e.give()
	p := []unix.PollFd{{Fd: int32(e.num), Events: unix.POLLIN}}
	n, err := retry(func() (int, error) { return unix.Poll(p, 0) })
	return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
}

// Clear sets the counter to zero and returns what it was; it never blocks.
func (e *FD) Clear() (uint64, error) { return e.take(make([]byte, 8)) }

func (e *FD) take(buf []byte) (uint64, error) {
	if !e.borrow() {
		return 0, fmt.Errorf("eventfd: clear: %w", os.ErrClosed)
	}
	defer e.give()
	_, err := retry(func() (int, error) { return unix.Read(e.num, buf) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("eventfd: clear: %w", err)
	}
	return binary.NativeEndian.Uint64(buf), nil
}

// Close closes the descriptor; whoever waits is told so first. The error is
// os.ErrClosed the second time.
func (e *FD) Close() error {
	if e.closed.Swap(true) {
		return fmt.Errorf("eventfd: close: %w", os.ErrClosed)
	}
	e.mu.Lock()
	for _, w := range e.waiters {
		w.rouse()
	}
	e.mu.Unlock()
	e.use.Lock() // they are out
	err := unix.Close(e.num)
	e.use.Unlock()
	e.wait.Lock()
	defer e.wait.Unlock()
	if e.own != nil {
		e.own.Close()
	}
	if err != nil {
		return fmt.Errorf("eventfd: close: %w", err)
	}
	return nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
