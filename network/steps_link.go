package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// linkSteps make the link, a veth pair or a tap. Undoing the first removes it, with all that the others did to it.
func (s *Setup) linkSteps() []plan.Step {
	name, bridge := s.lease.Link, s.spec.Mode.Value
	steps := []plan.Step{s.vethStep()}
	if s.spec.Tap != nil {
		steps = []plan.Step{s.tapStep()}
	}
	alias := linkAlias(bridge, s.spec.ID)
	steps = append(
		steps,
		plan.Step{
			Op: "RTM_SETLINK", Object: name,
			Args: []plan.Arg{plan.A("alias", alias), plan.A("addrgenmode", "none")},
			Why:  "whose it is, for people; and no IPv6 address of its own, as it is but a port of the bridge",
			Do:   func() error { return s.markLink(name, alias) },
		},
		plan.Step{
			Op: "RTM_SETLINK", Object: name, Args: []plan.Arg{plan.A("master", bridge)}, Why: "plug it in",
			Do: func() error { return s.plugIn(name, bridge) },
		},
		plan.Step{
			Op: "RTM_SETLINK", Object: name, Args: []plan.Arg{plan.A("flags", "IFF_UP")},
			Do: func() error { return s.host.onLink(name, (*netlink.Handle).LinkSetUp) },
		},
	)
	if s.spec.Tap == nil {
		steps = append(steps, s.boxSteps()...)
	}
	return steps
}

// vethStep asks for both ends at once, the second in the container's namespace and with its name there: so there is
// nothing to move or to rename, and no moment at which the host has a link eth0.
func (s *Setup) vethStep() plan.Step {
	name := s.lease.Link
	return plan.Step{
		Op: "RTM_NEWLINK", Object: name,
		Args: []plan.Arg{
			plan.A("kind", "veth"), plan.A("mtu", later(func() string { return fmt.Sprint(s.mtu()) })),
			plan.A("peer", s.spec.Interface), plan.A("peer.netns", s.netNSPath()),
			plan.A("peer.address", later(func() string { return s.mac().String() })),
		},
		Why: "a cable: what goes in at one end comes out at the other; one for the bridge, one for the container",
		Do: func() error {
			h, err := s.host.netlink()
			if err != nil {
				return err
			}
			box, err := s.box.netns()
			if err != nil {
				return err
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU = name, s.mtu()
			veth := netlink.NewVeth(attrs)
			veth.PeerName, veth.PeerHardwareAddr, veth.PeerNamespace = s.spec.Interface, s.mac(), netlink.NsFd(box.Fd())
			return h.LinkAdd(veth)
		},
		Undo: func() error { return s.host.deleteLink(name) },
	}
}

// IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const addrGenNone = 1

func (s *Setup) markLink(name, alias string) error {
	return s.host.onLink(name, func(h *netlink.Handle, link netlink.Link) error {
		if err := h.LinkSetAlias(link, alias); err != nil {
			return fmt.Errorf("alias: %w", err)
		}
		if _, err := s.host.sysctl("net/ipv6/conf/" + name + "/addr_gen_mode"); err != nil {
			return nil // a kernel without IPv6
		}
		if err := h.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
			return fmt.Errorf("addrgenmode: %w", err)
		}
		return nil
	})
}

func (s *Setup) plugIn(name, bridge string) error {
	return s.host.onLink(bridge, func(_ *netlink.Handle, master netlink.Link) error {
		return s.host.onLink(name, func(h *netlink.Handle, link netlink.Link) error { return h.LinkSetMaster(link, master) })
	})
}

// boxSteps set up the container's end. They have nothing to undo: it goes with the other.
func (s *Setup) boxSteps() []plan.Step {
	eth, netns := s.spec.Interface, plan.A("netns", s.netNSPath())
	setting, value := "net/ipv6/conf/"+eth+"/accept_ra", "0"
	why := "another box must not make itself this one's IPv6 router"
	if s.withoutIPv6() {
		setting, value, why = "net/ipv6/conf/"+eth+"/disable_ipv6", "1", "no link-local address either"
	}
	steps := []plan.Step{
		s.loUp(),
		{
			Op: "write", Object: sysctlPath(setting), Args: []plan.Arg{netns, plan.A("value", value)}, Why: why,
			Do: func() error { return s.box.setIfThere(setting, value) },
		},
	}
	for _, p := range s.attachment.Addresses {
		six := p.Addr().Is6()
		steps = append(steps, plan.Step{
			Op: "RTM_NEWADDR", Object: eth,
			Args: []plan.Arg{netns, plan.A("address", later(func() string { return s.address(six).String() }))},
			Why:  "as leased",
			Do:   func() error { return s.box.addAddress(eth, s.address(six)) },
		})
	}
	steps = append(steps, plan.Step{
		Op: "RTM_SETLINK", Object: eth, Args: []plan.Arg{netns, plan.A("flags", "IFF_UP")},
		Do: func() error { return s.box.onLink(eth, (*netlink.Handle).LinkSetUp) },
	})
	for _, p := range s.attachment.Addresses {
		six := p.Addr().Is6()
		steps = append(steps, plan.Step{
			Op: "RTM_NEWROUTE", Object: "default",
			Args: []plan.Arg{
				netns, plan.A("via", later(func() string { return s.gateway(six).Addr().String() })), plan.A("dev", eth),
			},
			Why: "everything that is not on the bridge goes to the host",
			Do:  func() error { return s.box.addDefaultRoute(eth, s.gateway(six).Addr()) },
		})
	}
	return steps
}

func (sp *space) addDefaultRoute(link string, gateway netip.Addr) error {
	return sp.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		dst := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if gateway.Is6() {
			dst = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		}
		return h.RouteAdd(&netlink.Route{
			LinkIndex: l.Attrs().Index, Dst: dst, Gw: gateway.AsSlice(), Protocol: unix.RTPROT_STATIC,
		})
	})
}
