package port

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

const (
	// holdLimit is the largest range that is held by sockets. Each port costs two descriptors, and a process has a
	// few thousand. A larger range is checked when it is published, and its ports are free for others to bind later,
	// in vain: the rules of the published port come first.
	holdLimit = 256
	// tries bounds the search for a number that is free on every address.
	tries = 64
)

// User is a mapping in force, with the box that it leads to.
type User struct {
	Mapping
	Box string
}

// TakenError says which port of the host is taken.
type TakenError struct {
	Address  netip.AddrPort
	Protocol Protocol
	Holder   string // who has it; empty if that can't be told
}

func (e *TakenError) Error() string {
	text := fmt.Sprintf("%s/%s: %v", e.Address, e.Protocol, ErrTaken)
	if e.Holder != "" {
		text += " by " + e.Holder
	}
	return text
}

func (e *TakenError) Unwrap() error { return ErrTaken }

// Hold takes a mapping's ports on the host against every other program: it binds a socket to each, on each of its
// addresses, and listens where that is TCP. It returns the mapping with every port known, and the sockets, for
// [Relay.Serve]; ranges of more than 256 ports have none. The sockets are the caller's to close. used are the
// mappings of other boxes, whose sockets may be closed while their rules are in force.
//
// Without IPv6 in the kernel, a mapping for all addresses is one for those of IPv4.
func Hold(host *netns.NS, m Mapping, used []User) (Mapping, []*os.File, error) {
	if err := m.Check(); err != nil {
		return m, nil, fmt.Errorf("port: publish %s: %w", m, err)
	}
	var sockets []*os.File
	err := host.Do(func() (err error) {
		m, sockets, err = hold(m, used)
		return err
	})
	if err != nil {
		if taken := (*TakenError)(nil); errors.As(err, &taken) && taken.Holder == "" {
			taken.Holder = holder(host, taken.Protocol, taken.Address)
		}
		return m, nil, fmt.Errorf("port: publish %s: %w", m, err)
	}
	return m, sockets, nil
}

func hold(m Mapping, used []User) (Mapping, []*os.File, error) {
	switch {
	case m.Settled():
		sockets, err := holdSettled(m, used)
		return m, sockets, err
	case m.HostPort == 0:
		return holdAny(m, used)
	}
	var first error
	for i := range m.Choices {
		settled := m
		settled.HostPort, settled.Choices = m.HostPort+i, 0
		sockets, err := holdSettled(settled, used)
		if err == nil {
			return settled, sockets, nil
		}
		if !errors.Is(err, ErrTaken) {
			return m, nil, err
		}
		if first == nil {
			first = err
		}
	}
	return m, nil, fmt.Errorf("all %d, the first: %w", m.Choices, first)
}

// holdAny lets the kernel choose a port on the first address, and tries it on the others.
func holdAny(m Mapping, used []User) (Mapping, []*os.File, error) {
	var err error
	for range tries {
		settled := m
		if settled.HostPort, err = freePort(m.Protocol, m.Listens()[0]); err != nil {
			return m, nil, err
		}
		var sockets []*os.File
		if sockets, err = holdSettled(settled, used); err == nil {
			return settled, sockets, nil
		}
		if !errors.Is(err, ErrTaken) {
			return m, nil, err
		}
	}
	return m, nil, fmt.Errorf("found no free port in %d tries, the last: %w", tries, err)
}

func freePort(protocol Protocol, ip netip.Addr) (uint16, error) {
	fd, err := bind(protocol, netip.AddrPortFrom(ip, 0))
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("getsockname: %w", err)
	}
	return fromSockaddr(name).Port(), nil
}

func holdSettled(m Mapping, used []User) (sockets []*os.File, err error) {
	for _, u := range used {
		if m.Overlaps(u.Mapping) {
			at := netip.AddrPortFrom(m.Listens()[0], max(m.HostPort, u.HostPort))
			return nil, &TakenError{at, m.Protocol, fmt.Sprintf("%s (%s)", u.Box, u.Mapping)}
		}
	}
	defer func() {
		if err != nil {
			CloseAll(sockets)
			sockets = nil
		}
	}()
	for _, ip := range m.Listens() {
		for i := range m.Count {
			at := netip.AddrPortFrom(ip, m.HostPort+i)
			fd, err := bind(m.Protocol, at)
			if errors.Is(err, unix.EAFNOSUPPORT) && ip.Is6() && !m.HostIP.IsValid() {
				break
			}
			if err != nil {
				return sockets, err
			}
			if m.Count > holdLimit {
				unix.Close(fd)
				continue
			}
			sockets = append(sockets, os.NewFile(uintptr(fd), fmt.Sprintf("%s/%s", at, m.Protocol)))
		}
	}
	return sockets, nil
}

// bind makes a socket that has the port for itself.
func bind(protocol Protocol, at netip.AddrPort) (fd int, err error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	if protocol == UDP {
		kind = unix.SOCK_DGRAM
	}
	if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, fmt.Errorf("socket for %s/%s: %w", at, protocol, err)
	}
	if err = bindTo(fd, protocol, at); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return -1, &TakenError{Address: at, Protocol: protocol}
		}
		return -1, fmt.Errorf("%s/%s: %w", at, protocol, err)
	}
	return fd, nil
}

func bindTo(fd int, protocol Protocol, at netip.AddrPort) error {
	if at.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("IPV6_V6ONLY: %w", err)
		}
	}
	if protocol == TCP {
		// What is left in TIME_WAIT of a server that has ended does not count. Listening makes the port exclusive
		// all the same: of two sockets with SO_REUSEADDR, none can be bound while the other listens.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("SO_REUSEADDR: %w", err)
		}
	}
	if err := unix.Bind(fd, toSockaddr(at)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if protocol == UDP {
		return nil
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// CloseAll closes sockets that [Hold] gave.
func CloseAll(sockets []*os.File) {
	for _, s := range sockets {
		s.Close()
	}
}

func toSockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
