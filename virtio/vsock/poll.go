package vsock

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The tokens of what is no connection.
const (
	wakeToken   = -1
	kickToken   = -2
	acceptToken = -3
)

// poller is an epoll instance whose goroutine sleeps in Go's own: it costs no thread.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	fd     int
	events [64]unix.EpollEvent
	n      int
	err    error
	look   func(fd uintptr) bool
}

func (p *poller) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: create: %w", err)
	}
	// So that package os takes it for something to be waited for.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("epoll: set non-blocking: %w", err)
	}
	p.fd, p.file = fd, os.NewFile(uintptr(fd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	p.look = func(fd uintptr) bool {
		for {
			p.n, p.err = unix.EpollWait(int(fd), p.events[:], 0)
			if !errors.Is(p.err, unix.EINTR) {
				return p.n > 0 || p.err != nil
			}
		}
	}
	return nil
}

// add has a descriptor watched, for edges: what is ready is told once, until it is so again.
func (p *poller) add(fd int, events uint32, token, generation int32) error {
	e := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: token, Pad: generation}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll: add %d: %w", fd, err)
	}
	return nil
}

// remove ends that. A descriptor that was closed is not there any more.
func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// wait sleeps until something is ready.
func (p *poller) wait() error {
	p.n = 0
	if err := p.raw.Read(p.look); err != nil {
		return err
	}
	if p.err != nil {
		return fmt.Errorf("epoll: wait: %w", p.err)
	}
	return nil
}

func (p *poller) seen() []unix.EpollEvent { return p.events[:max(p.n, 0)] }

func (p *poller) close() {
	if p.file != nil {
		p.file.Close()
	}
}
