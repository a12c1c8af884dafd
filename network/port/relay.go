package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

// Relay carries to the box what reaches the sockets of [Hold] on the host.
//
// Connections from elsewhere never do: the kernel's NAT takes them to the box before a socket sees them. What is left
// is what NAT can't do: connections to 127.0.0.1 and ::1, and IPv6 for a box that has none.
type Relay struct {
	Host     *netns.NS    // where the box is reached from
	Box      []netip.Addr // the box's addresses
	Mappings []Mapping
	Sockets  []*os.File // as Hold gave them, in any order

	// UDPIdle is how long a client's replies are waited for after its last packet; 0 is 90 s.
	UDPIdle time.Duration
	// Log, if not nil, is told of what failed for one connection. It has to stand calls from several goroutines.
	Log func(error)
}

const (
	dialLimit = 10 * time.Second
	udpIdle   = 90 * time.Second
)

// Serve relays until ctx ends, or a socket breaks. It uses copies of the sockets; closing them is left to the caller.
func (r *Relay) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	defer group.Wait() // after cancel: what is deferred last runs first
	defer cancel(nil)
	var servers []func(context.Context) error
	for _, socket := range r.Sockets {
		serve, err := r.server(socket)
		if err != nil {
			return fmt.Errorf("port: relay %s: %w", socket.Name(), err)
		}
		servers = append(servers, serve)
	}
	for i, serve := range servers {
		group.Go(func() {
			if err := serve(ctx); err != nil {
				cancel(fmt.Errorf("port: relay %s: %w", r.Sockets[i].Name(), err))
			}
		})
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// server prepares to serve one socket: what it is for, it tells itself.
func (r *Relay) server(socket *os.File) (func(context.Context) error, error) {
	protocol, local, err := describe(socket)
	if err != nil {
		return nil, err
	}
	target, err := r.target(protocol, local)
	if err != nil {
		return nil, err
	}
	if protocol == TCP {
		return func(ctx context.Context) error { return r.serveTCP(ctx, socket, target) }, nil
	}
	return func(ctx context.Context) error { return r.serveUDP(ctx, socket, target) }, nil
}

// describe reads a socket's protocol and address.
func describe(socket *os.File) (protocol Protocol, local netip.AddrPort, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return "", local, err
	}
	var name unix.Sockaddr
	var kind int
	var inner error
	err = raw.Control(func(fd uintptr) {
		if kind, inner = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); inner == nil {
			name, inner = unix.Getsockname(int(fd))
		}
	})
	if err = errors.Join(err, inner); err != nil {
		return "", local, err
	}
	protocol = TCP
	if kind == unix.SOCK_DGRAM {
		protocol = UDP
	}
	return protocol, fromSockaddr(name), nil
}

// target is where in the box a socket's packets go: to the address of its own family if the box has one.
func (r *Relay) target(protocol Protocol, local netip.AddrPort) (netip.AddrPort, error) {
	for _, m := range r.Mappings {
		if m.Protocol != protocol || local.Port() < m.HostPort || local.Port() > m.Last() ||
			m.HostIP.IsValid() && m.HostIP != local.Addr() {
			continue
		}
		box := m.BoxPort + (local.Port() - m.HostPort)
		for _, ip := range r.Box {
			if ip.Is4() == local.Addr().Is4() {
				return netip.AddrPortFrom(ip, box), nil
			}
		}
		if len(r.Box) > 0 {
			return netip.AddrPortFrom(r.Box[0], box), nil
		}
	}
	return netip.AddrPort{}, errors.New("no mapping is for this socket")
}

// dial connects to the box. The socket is made on a thread in the host's namespace; for an address that needs no
// resolving, package net makes it on the calling one.
func (r *Relay) dial(ctx context.Context, protocol Protocol, target netip.AddrPort) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	err = r.Host.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, string(protocol), target.String())
		return err
	})
	return conn, err
}

func (r *Relay) log(err error) {
	if r.Log != nil && err != nil {
		r.Log(err)
	}
}

// passing tells errors of accept(2) and recvmsg(2) that are over by themselves: of one connection, or of a want of
// descriptors or memory.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM,
		unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, // an ICMP error for a packet that was sent
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits a little for what was wanting, and tells whether ctx lives.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
