package virtiotest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
)

// MSI is a virtio.MSI whose deliveries a test waits for. As with an irqfd, the
// eventfd is looked at only while the interrupt is unmasked.
type MSI struct {
	host  *Host
	event *eventfd.FD
	sent  *eventfd.FD // signalled by Send

	mu   sync.Mutex
	live bool
	addr uint64
	data uint32
}

// Event implements virtio.MSI.
func (m *MSI) Event() *eventfd.FD { return m.event }

// Set implements virtio.MSI. It refuses what KVM would: an address that no local
// APIC listens to.
func (m *MSI) Set(addr uint64, data uint32) error {
	if addr&^0xfffff != 0xfee00000 {
		return fmt.Errorf("MSI to %#x: %w", addr, unix.EINVAL)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addr, m.data = addr, data
	return nil
}

// Mask implements virtio.MSI.
func (m *MSI) Mask() error { return m.setLive(false) }

// Unmask implements virtio.MSI.
func (m *MSI) Unmask() error { return m.setLive(true) }

func (m *MSI) setLive(live bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == live {
		return errors.New("masked or unmasked twice")
	}
	m.live = live
	return nil
}

// Send implements virtio.MSI.
func (m *MSI) Send() error { return m.sent.Signal() }

// Close implements virtio.MSI.
func (m *MSI) Close() error {
	m.host.mu.Lock()
	defer m.host.mu.Unlock()
	i := slices.Index(m.host.msis, m)
	if i < 0 {
		return errors.New("MSI closed twice")
	}
	m.host.msis = slices.Delete(m.host.msis, i, i+1)
	return errors.Join(m.event.Close(), m.sent.Close())
}

func (m *MSI) delivers(addr uint64, data uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live && m.addr == addr && m.data == data
}

// WaitMSI waits for a message to be delivered. It gives false after the timeout, or
// when no unmasked MSI has that message.
func (h *Host) WaitMSI(addr uint64, data uint32, timeout time.Duration) bool {
	var fds []*eventfd.FD
	h.mu.Lock()
	for _, m := range h.msis {
		if m.delivers(addr, data) {
			fds = append(fds, m.event, m.sent)
		}
	}
	h.mu.Unlock()
	return waitAny(fds, timeout)
}

// waitAny waits until one of the eventfds is signalled, and clears those that are.
func waitAny(fds []*eventfd.FD, timeout time.Duration) bool {
	if len(fds) == 0 {
		return false
	}
	var polls []unix.PollFd
	for _, fd := range fds {
		polls = append(polls, unix.PollFd{Fd: int32(fd.Fd()), Events: unix.POLLIN})
	}
	deadline := time.Now().Add(timeout)
	for {
		n, err := unix.Poll(polls, int(max(time.Until(deadline), 0).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		for i, p := range polls {
			if p.Revents != 0 {
				_, _ = fds[i].Clear()
			}
		}
		return true
	}
}

// Line is a virtio.Line whose level a test waits for.
type Line struct {
	mu     sync.Mutex
	high   bool
	raised chan struct{} // closed while the line is high
}

// Set implements virtio.Line.
func (l *Line) Set(high bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := l.channel()
	switch {
	case high && !l.high:
		close(ch)
	case !high && l.high:
		l.raised = make(chan struct{})
	}
	l.high = high
	return nil
}

func (l *Line) channel() chan struct{} {
	if l.raised == nil {
		l.raised = make(chan struct{})
	}
	return l.raised
}

// High tells whether the line is high.
func (l *Line) High() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.high
}

// Wait waits until the line is high, and gives false after the timeout.
func (l *Line) Wait(timeout time.Duration) bool {
	l.mu.Lock()
	ch := l.channel()
	l.mu.Unlock()
	select {
	case <-ch:
		return true
	case <-time.After(timeout):
		return l.High()
	}
}
