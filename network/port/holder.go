package port

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

const tcpListen = 10 // TCP_LISTEN of include/net/tcp_states.h

// holder names the process that has a port, as far as that can be told: sock_diag(7) gives the socket's inode, and some
// process has a descriptor of it.
func holder(host *netns.NS, protocol Protocol, at netip.AddrPort) string {
	h, err := host.Handle(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return ""
	}
	defer h.Close()
	// A socket of IPv6 may have the port in both families.
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list := h.SocketDiagTCP
		if protocol == UDP {
			list = h.SocketDiagUDP
		}
		sockets, err := list(family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // such a list may lack some, and have ours
			continue
		}
		for _, s := range sockets {
			if has(s, protocol, at) {
				return owner(s)
			}
		}
	}
	return ""
}

func has(s *netlink.Socket, protocol Protocol, at netip.AddrPort) bool {
	if s.ID.SourcePort != at.Port() || protocol == TCP && s.State != tcpListen {
		return false
	}
	ip, ok := netip.AddrFromSlice(s.ID.Source)
	if !ok {
		return false
	}
	ip = ip.Unmap()
	both := s.Family == unix.AF_INET6 && ip.IsUnspecified() // unless it is IPV6_V6ONLY, which is not told
	if ip.Is4() != at.Addr().Is4() && !both {
		return false
	}
	return ip == at.Addr() || ip.IsUnspecified() || at.Addr().IsUnspecified()
}

// owner finds the process that has the socket open. It sees those that the caller may look into.
func owner(s *netlink.Socket) string {
	target := fmt.Sprintf("socket:[%d]", s.INode)
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, path := range descriptors {
		if link, err := os.Readlink(path); err != nil || link != target {
			continue
		}
		process := filepath.Dir(filepath.Dir(path))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(process))
	}
	return fmt.Sprintf("a process of user %d", s.UID)
}
