package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// maxSessions bounds the clients of one socket, each of which costs a socket and a buffer. Further ones get no
	// answer until another's session ends.
	maxSessions = 1024
	maxDatagram = 1<<16 - 1
)

// udpKey is a client, and the address of the host that it sent to, from which the reply has to come.
type udpKey struct {
	client netip.AddrPort
	local  netip.Addr
}

// udpServer has a connected socket to the box for each client, since by nothing else can replies be told apart.
type udpServer struct {
	*Relay
	conn   *net.UDPConn
	is4    bool
	target netip.AddrPort
	idle   time.Duration

	mu       sync.Mutex
	sessions map[udpKey]*net.UDPConn
	group    sync.WaitGroup
}

func (r *Relay) serveUDP(ctx context.Context, socket *os.File, target netip.AddrPort) error {
	packets, err := net.FilePacketConn(socket)
	if err != nil {
		return err
	}
	conn := packets.(*net.UDPConn)
	defer conn.Close()
	s := &udpServer{Relay: r, conn: conn, target: target, idle: r.UDPIdle, sessions: make(map[udpKey]*net.UDPConn)}
	if s.idle == 0 {
		s.idle = udpIdle
	}
	s.is4 = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is4()
	if s.is4 {
		err = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	} else {
		err = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		return fmt.Errorf("ask for destination addresses: %w", err)
	}
	defer s.group.Wait()
	defer context.AfterFunc(ctx, s.close)()
	return s.serve(ctx)
}

// close ends every read.
func (s *udpServer) close() {
	s.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, box := range s.sessions {
		box.Close()
	}
}

func (s *udpServer) serve(ctx context.Context) error {
	defer s.close()
	buffer, control := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, m, _, from, err := s.conn.ReadMsgUDPAddrPort(buffer, control)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			key := udpKey{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), s.destination(control[:m])}
			s.log(s.forward(ctx, key, buffer[:n]))
		case !passing(err):
			return err
		case !pause(ctx):
			return nil
		}
	}
}

// destination reads the address that a packet was sent to (IP_PKTINFO, IPV6_PKTINFO).
func (s *udpServer) destination(control []byte) netip.Addr {
	var ip net.IP
	if s.is4 {
		var m ipv4.ControlMessage
		if m.Parse(control) == nil {
			ip = m.Dst
		}
	} else {
		var m ipv6.ControlMessage
		if m.Parse(control) == nil {
			ip = m.Dst
		}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// source is the control message that makes a reply come from an address.
func (s *udpServer) source(local netip.Addr) []byte {
	switch {
	case !local.IsValid():
		return nil
	case s.is4:
		return (&ipv4.ControlMessage{Src: local.AsSlice()}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: local.AsSlice()}).Marshal()
}

func (s *udpServer) forward(ctx context.Context, key udpKey, packet []byte) error {
	box, err := s.session(ctx, key)
	if err != nil {
		return fmt.Errorf("port: relay %s: %w", key.client, err)
	}
	box.SetReadDeadline(time.Now().Add(s.idle))
	if _, err := box.Write(packet); err != nil && !passing(err) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("port: relay %s: %w", key.client, err)
	}
	return nil
}

// session finds a client's socket to the box, or makes it.
func (s *udpServer) session(ctx context.Context, key udpKey) (*net.UDPConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if box := s.sessions[key]; box != nil {
		return box, nil
	}
	if len(s.sessions) >= maxSessions {
		return nil, fmt.Errorf("%d clients have sessions, and no more are kept", maxSessions)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // after close, which would not see this one
	}
	conn, err := s.dial(ctx, UDP, s.target)
	if err != nil {
		return nil, err
	}
	box := conn.(*net.UDPConn)
	s.sessions[key] = box
	s.group.Go(func() {
		s.replies(key, box)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, key)
		box.Close()
	})
	return box, nil
}

// replies carries back what the box sends, until it is quiet for the idle time, or refuses.
func (s *udpServer) replies(key udpKey, box *net.UDPConn) {
	buffer, control := make([]byte, maxDatagram), s.source(key.local)
	for {
		n, err := box.Read(buffer)
		if err != nil {
			return
		}
		box.SetReadDeadline(time.Now().Add(s.idle))
		if _, _, err := s.conn.WriteMsgUDPAddrPort(buffer[:n], control, key.client); err != nil {
			s.log(fmt.Errorf("port: relay to %s: %w", key.client, err))
			if !passing(err) {
				return
			}
		}
	}
}
