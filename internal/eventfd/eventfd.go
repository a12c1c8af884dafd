// Package eventfd owns Linux eventfds: the counters that KVM, vhost and a monitor
// use to wake each other.
//
// An FD waits in Go's network poller, so a goroutine that waits costs no thread,
// and its descriptor can be handed to the kernel (KVM_IOEVENTFD, KVM_IRQFD,
// VHOST_SET_VRING_KICK) at the same time.
package eventfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// FD is one eventfd(2). All methods may be called at the same time from several
// goroutines, except that the counter which one Wait takes is not seen by another.
type FD struct {
	file *os.File
	num  int

	// wait guards buf: a buffer on the stack would escape through os.File.Read and
	// cost an allocation each wake-up.
	wait sync.Mutex
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
	return wrap(num), nil
}

// Adopt takes over an eventfd that came from elsewhere, such as a vhost-user peer.
// It closes the descriptor when it fails.
func Adopt(num int) (*FD, error) {
	if err := unix.SetNonblock(num, true); err != nil {
		unix.Close(num)
		return nil, fmt.Errorf("eventfd: adopt %d: %w", num, err)
	}
	return wrap(num), nil
}

func wrap(num int) *FD {
	return &FD{file: os.NewFile(uintptr(num), "eventfd"), num: num}
}

// Fd is the descriptor's number, for an ioctl. It stays owned by e and is valid
// until Close. (os.File.Fd would put the descriptor in blocking mode.)
func (e *FD) Fd() int { return e.num }

// Signal adds one to the counter and so wakes whoever waits. The error is
// os.ErrClosed after Close.
func (e *FD) Signal() error {
	_, err := e.file.Write(one)
	if err != nil {
		return fmt.Errorf("eventfd: signal: %w", err)
	}
	return nil
}

// TrySignal is Signal that never waits: a counter that is full, which only somebody
// else who has the eventfd can bring about, wakes its reader as it is.
func (e *FD) TrySignal() error {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("eventfd: signal: %w", err)
	}
	if err := raw.Control(trySignal); err != nil {
		return fmt.Errorf("eventfd: signal: %w", os.ErrClosed)
	}
	return nil
}

// trySignal has no result: the two errors that there are say that the counter is full, and
// that the descriptor is no eventfd.
func trySignal(fd uintptr) {
	_, _ = retry(func() (int, error) { return unix.Write(int(fd), one) })
}

// Wait blocks until the counter is not zero, sets it to zero and returns what it
// was. The error is os.ErrClosed once the eventfd is closed, also for a Wait that
// was blocked then.
func (e *FD) Wait() (uint64, error) {
	e.wait.Lock()
	defer e.wait.Unlock()
	if _, err := e.file.Read(e.buf[:]); err != nil {
		return 0, fmt.Errorf("eventfd: wait: %w", err)
	}
	return binary.NativeEndian.Uint64(e.buf[:]), nil
}

// Pending tells whether the counter is not zero, without changing it.
func (e *FD) Pending() bool {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return false
	}
	pending := false
	raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := retry(func() (int, error) { return unix.Poll(p, 0) })
		pending = err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
	})
	return pending
}

// Clear sets the counter to zero and returns what it was; it never blocks.
func (e *FD) Clear() (uint64, error) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("eventfd: clear: %w", err)
	}
	var (
		buf     [8]byte
		readErr error
	)
	err = raw.Control(func(fd uintptr) {
		_, readErr = retry(func() (int, error) { return unix.Read(int(fd), buf[:]) })
	})
	switch {
	case err != nil:
		// What os.File gives here wraps nothing; there is one reason only.
		return 0, fmt.Errorf("eventfd: clear: %w", os.ErrClosed)
	case readErr != nil && !errors.Is(readErr, unix.EAGAIN):
		return 0, fmt.Errorf("eventfd: clear: %w", readErr)
	}
	return binary.NativeEndian.Uint64(buf[:]), nil
}

// Close closes the descriptor; a blocked Wait returns.
func (e *FD) Close() error { return e.file.Close() }

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
