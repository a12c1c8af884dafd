package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/network/firewall"
	"tandem/network/lease"
)

// withBridge are the steps of the mode bridge.
func (s *Setup) withBridge() []plan.Phase {
	bridge := s.spec.Mode.Value
	first := append(s.openSteps(), s.leaseStep())
	phases := []plan.Phase{
		{Name: "network: lease", Steps: first},
		{Name: "network: " + bridge + ", which its boxes share", Steps: s.bridgeSteps()},
		{Name: "network: link", Steps: s.linkSteps()},
	}
	if len(s.spec.Ports) > 0 {
		phases = append(phases, plan.Phase{Name: "network: published ports", Steps: s.portSteps()})
	}
	return append(phases, plan.Phase{Name: "network: done", Steps: []plan.Step{s.doneStep(), s.closeStep()}})
}

// leaseStep takes the lease, which is also what keeps the bridge.
func (s *Setup) leaseStep() plan.Step {
	return plan.Step{
		Op: "lease", Object: s.file.Path(),
		Args: []plan.Arg{
			plan.A("id", s.spec.ID),
			plan.A("addresses", later(func() string { return fmt.Sprint(s.attachment.Addresses) })),
			plan.A("subnets", later(func() string { return fmt.Sprint(s.subnets()) })),
		},
		Why: "the next addresses of the bridge, under flock; the last lease that is given back takes the bridge along",
		Do:  s.takeLease,
		Undo: func() error {
			return s.update(context.WithoutCancel(s.ctx), func(n *lease.Network) error { return s.host.detach(n, s.spec.ID) })
		},
	}
}

func (s *Setup) subnets() []netip.Prefix {
	if s.network.IPv6.IsValid() {
		return []netip.Prefix{s.network.IPv4, s.network.IPv6}
	}
	return []netip.Prefix{s.network.IPv4}
}

// update changes the leases of the Spec's bridge.
func (s *Setup) update(ctx context.Context, change func(*lease.Network) error) error {
	return s.host.update(ctx, s.spec.Mode.Value, change)
}

func (s *Setup) takeLease() error {
	unlock, err := lease.LockFolder(s.ctx, s.spec.State)
	if err != nil {
		return err
	}
	defer unlock()
	self, err := lease.Self()
	if err != nil {
		return err
	}
	return s.update(s.ctx, func(n *lease.Network) error {
		if err := s.reclaim(n); err != nil {
			return err
		}
		check := s.fits
		if len(n.Leases) == 0 {
			check = s.choose
		}
		if err := check(n); err != nil {
			return err
		}
		if n.IPv6.IsValid() != s.network.IPv6.IsValid() {
			return fmt.Errorf("%s has IPv6 or not, unlike when the steps were made: try again", n.Bridge)
		}
		l, err := n.Take(s.spec.ID, s.spec.Address)
		if errors.Is(err, lease.ErrFull) {
			var freed int
			if freed, err = s.host.collectLeases(n, nil); err == nil && freed == 0 {
				err = fmt.Errorf("%w, and all are in use", lease.ErrFull)
			} else if err == nil {
				l, err = n.Take(s.spec.ID, s.spec.Address)
			}
		}
		if err != nil {
			return err
		}
		s.network, s.lease, l.By = n, l, self
		s.describe(l)
		return nil
	})
}

// reclaim takes away the lease that an earlier box of this ID left, if it is gone.
func (s *Setup) reclaim(n *lease.Network) error {
	own := n.Lease(s.spec.ID)
	if own == nil {
		return nil
	}
	why, err := s.host.dead(own, nil)
	if err != nil {
		return err
	}
	if why == "" {
		return fmt.Errorf("%w to %s, with %v", ErrAttached, n.Bridge, n.Addresses(own.Number))
	}
	return s.host.detach(n, s.spec.ID)
}

// bridgeSteps make the bridge, or find that it is there. They have nothing to undo: the lease does, under the lock that
// tells whether somebody else needs the bridge by then.
func (s *Setup) bridgeSteps() []plan.Step {
	bridge := s.spec.Mode.Value
	steps := []plan.Step{
		{
			Op: "RTM_NEWLINK", Object: bridge,
			Args: []plan.Arg{
				plan.A("kind", "bridge"),
				plan.A("address", later(func() string { return bridgeMAC(s.network).String() })),
				plan.A("mtu", later(func() string { return fmt.Sprint(s.network.MTU) })),
			},
			Why: "a switch in the kernel; of a MAC of its own, as it would change with its ports otherwise",
			Do:  s.makeBridge,
		},
		{
			Op: "write", Object: sysctlPath("net/ipv6/conf/" + bridge + "/accept_ra"), Args: []plan.Arg{plan.A("value", 0)},
			Why: "a box must not make itself the host's IPv6 router",
			Do:  func() error { return s.host.setIfThere("net/ipv6/conf/"+bridge+"/accept_ra", "0") },
		},
	}
	for _, gateway := range s.network.Gateways() {
		six := gateway.Addr().Is6()
		steps = append(steps, plan.Step{
			Op: "RTM_NEWADDR", Object: bridge,
			Args: []plan.Arg{plan.A("address", later(func() string { return s.gateway(six).String() }))},
			Why:  "the host's own address there, and the boxes' gateway",
			Do:   func() error { return s.host.addAddress(bridge, s.gateway(six)) },
		})
	}
	steps = append(
		steps,
		plan.Step{
			Op: "RTM_SETLINK", Object: bridge, Args: []plan.Arg{plan.A("flags", "IFF_UP")},
			Why: "and with it the route to the subnet",
			Do:  func() error { return s.host.onLink(bridge, (*netlink.Handle).LinkSetUp) },
		},
		s.forwardStep4(), s.forwardStep6(),
	)
	steps = append(steps, s.tableSteps()...)
	return append(steps, s.admitStep())
}

// gateway is the bridge's address of one family, zero if it has none.
func (s *Setup) gateway(six bool) netip.Prefix {
	if six {
		if all := s.network.Gateways(); len(all) == 2 {
			return all[1]
		}
		return netip.Prefix{}
	}
	return s.network.Gateways()[0]
}

func bridgeMAC(n *lease.Network) net.HardwareAddr { return macOf(n.Gateways()[0].Addr()) }

func (s *Setup) makeBridge() error {
	return s.update(s.ctx, func(n *lease.Network) error {
		link, err := s.host.link(n.Bridge)
		if err != nil {
			return err
		}
		if link != nil {
			if !s.host.ownBridge(link) {
				return fmt.Errorf("%s %s %w (alias %q)", link.Type(), n.Bridge, ErrForeign, link.Attrs().Alias)
			}
			if len(n.Leases) > 1 {
				return nil
			}
			// It was left by a box that was killed, and may have other addresses. What is plugged into it would be
			// cut off.
			plugged, err := s.host.plugged(link)
			if err != nil {
				return err
			}
			if len(plugged) > 0 {
				other := plugged[0].Attrs()
				return fmt.Errorf("bridge %s has no leases, but link %s (alias %q) is plugged into it: remove that first",
					n.Bridge, other.Name, other.Alias)
			}
			if err := s.host.deleteLink(n.Bridge); err != nil {
				return err
			}
		}
		// A bridge follows the smallest MTU of its ports, until it is set to another than it has.
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = n.Bridge, n.MTU+1, bridgeMAC(n)
		h, err := s.host.netlink()
		if err != nil {
			return err
		}
		made := &netlink.Bridge{LinkAttrs: attrs}
		if err := h.LinkAdd(made); err != nil {
			return err
		}
		if err := h.LinkSetMTU(made, n.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", n.MTU, err)
		}
		return h.LinkSetAlias(made, bridgeAlias(s.spec.State))
	})
}

// ownBridge tells a bridge that tandem made, with this state, from any other link. It may have been killed between
// making it and giving it its alias; then the MAC shows.
func (sp *space) ownBridge(link netlink.Link) bool {
	alias := link.Attrs().Alias
	return isBridge(link) && (alias == bridgeAlias(sp.state) || alias == "" && hasOwnPrefix(link.Attrs().HardwareAddr))
}

func isBridge(link netlink.Link) bool { return link.Type() == "bridge" }

func hasOwnPrefix(mac net.HardwareAddr) bool {
	return len(mac) == 6 && [2]byte(mac[:2]) == macPrefix
}

// addAddress adds an address that may be there. A zero one is none. IPv6 waits for no duplicate address detection:
// leases see to it that there is none, and it would take a second.
func (sp *space) addAddress(link string, p netip.Prefix) error {
	if !p.IsValid() {
		return nil
	}
	return sp.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(l, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%v: %w", p, err)
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// setIfThere writes a setting, unless the kernel lacks it, as it does without IPv6.
func (sp *space) setIfThere(name, value string) error {
	if _, err := sp.setSysctl(name, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tableSteps tell of each rule, and then set them all.
func (s *Setup) tableSteps() []plan.Step {
	bridge := s.spec.Mode.Value
	steps := []plan.Step{{
		Op: "nft add table", Object: "inet " + bridge,
		Args: []plan.Arg{plan.A("chains", strings.Join(firewall.Chains(), " "))},
		Why:  "chains of rules, at the places on a packet's way that are called hooks",
	}}
	for i, line := range ruleset(s.network).Lines() {
		steps = append(steps, ruleStep(bridge, line, func() string { return ruleset(s.network).Lines()[i].Text }))
	}
	return append(steps, plan.Step{
		Op: "NFNL_MSG_BATCH_END", Object: "table inet " + bridge,
		Why: "commit: a packet meets all of them, or none",
		Do: func() error {
			return s.update(s.ctx, func(n *lease.Network) error {
				fw, err := s.host.firewall()
				if err != nil {
					return err
				}
				if has, err := fw.Has(n.Bridge); err != nil || has && len(n.Leases) > 1 {
					return err
				}
				return fw.Apply(ruleset(n))
			})
		},
	})
}

// ruleStep tells of a rule. What does it is the commit.
func ruleStep(bridge string, line firewall.Line, text later) plan.Step {
	return plan.Step{
		Op: "nft add rule", Object: "inet " + bridge + " " + line.Chain,
		Args: []plan.Arg{plan.A("rule", text)}, Why: line.Why,
	}
}

func (s *Setup) admitStep() plan.Step {
	bridge := s.spec.Mode.Value
	rules := firewall.AdmitRules(bridge)
	return plan.Step{
		Op: "nft insert rule", Object: "chains of others that drop at the hook forward",
		Args: []plan.Arg{plan.A("rule", rules[0].Text), plan.A("rule", rules[1].Text)},
		Why:  "an accept in a table of one's own does not overrule their drop",
		Do: func() error {
			return s.update(s.ctx, func(*lease.Network) error {
				fw, err := s.host.firewall()
				if err != nil {
					return err
				}
				changed, notes, err := fw.Admit(bridge)
				for _, name := range changed {
					s.note(fmt.Sprintf("two rules in chain %s let %s through; they go with the bridge", name, bridge))
				}
				for _, text := range append(notes, firewall.LegacyNotes(s.host.ns, bridge)...) {
					s.note(text)
				}
				return err
			})
		},
	}
}

// ruleset is what the leases of a network say of its rules.
func ruleset(n *lease.Network) firewall.Ruleset {
	r := firewall.Ruleset{Bridge: n.Bridge, IPv4: n.IPv4, IPv6: n.IPv6}
	for i := range n.Leases {
		l := &n.Leases[i]
		if !l.Published {
			continue
		}
		box := firewall.Box{ID: l.ID, IPv4: n.Address4(l.Number).Addr(), Ports: l.Ports}
		if six := n.Address6(l.Number); six.IsValid() && !l.NoIPv6 {
			box.IPv6 = six.Addr()
		}
		r.Boxes = append(r.Boxes, box)
	}
	return r
}

// doneStep makes the lease speak for the box from now on, and no longer for this process.
func (s *Setup) doneStep() plan.Step {
	return plan.Step{
		Op: "lease", Object: s.file.Path(), Args: []plan.Arg{plan.A("id", s.spec.ID), plan.A("attached", true)},
		Why: "from now on the link tells whether the box lives",
		Do: func() error {
			return s.update(s.ctx, func(n *lease.Network) error {
				l := n.Lease(s.spec.ID)
				if l == nil {
					return fmt.Errorf("lease of %s: %w", s.spec.ID, fs.ErrNotExist)
				}
				l.Attached = true
				return nil
			})
		},
	}
}
