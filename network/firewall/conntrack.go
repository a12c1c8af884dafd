package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/network/netns"
	"tandem/network/port"
)

// ForgetUDP removes what conntrack knows of the UDP flows to the published ports on the host.
//
// NAT rules see the first packet of a connection; what they decide holds for as long as conntrack knows it. TCP begins
// anew with each connection. A UDP client that keeps sending from one port never does: after the port is published its
// packets would go on to the host itself, and after the box is gone to an address where nobody is.
//
// A kernel without ctnetlink knows nothing that could be removed this way; that is no error.
func ForgetUDP(ns *netns.NS, ports []port.Mapping) error {
	udp := slices.DeleteFunc(slices.Clone(ports), func(m port.Mapping) bool { return m.Protocol != port.UDP })
	if len(udp) == 0 {
		return nil
	}
	h, err := ns.Handle(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		_, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, family, toPorts(udp))
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) &&
			!errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("firewall: forget flows to %v: %w", udp, err)
		}
	}
	return nil
}

// toPorts matches flows by the port that they were sent to.
type toPorts []port.Mapping

func (p toPorts) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Forward.Protocol == unix.IPPROTO_UDP && slices.ContainsFunc(p, func(m port.Mapping) bool {
		return f.Forward.DstPort >= m.HostPort && f.Forward.DstPort <= m.Last()
	})
}
