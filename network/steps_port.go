package network

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"

	"tandem/internal/plan"
	"tandem/network/firewall"
	"tandem/network/lease"
	"tandem/network/port"
)

// maxTold is the number of port rules that a plan tells of. A range may have a thousand.
const maxTold = 16

// portSteps publish ports.
func (s *Setup) portSteps() []plan.Step {
	bridge := s.spec.Mode.Value
	steps := []plan.Step{
		{
			Op: "RTM_SETLINK", Object: s.lease.Link,
			Args: []plan.Arg{plan.A("hairpin", "where net.bridge.bridge-nf-call-* are on")},
			Why:  "what a box sends to its own published port is turned around in the bridge then, which has to send it back",
			Do:   s.setHairpin,
		},
		{
			Op: "bind, listen", Object: "published ports",
			Args: []plan.Arg{plan.A("ports", later(func() string { return fmt.Sprint(s.attachment.Ports) }))},
			Why:  "nobody else may have them; and what the host's own programs send there is relayed from these sockets",
			Do:   s.holdPorts,
			Undo: func() error {
				s.attachment.CloseSockets()
				return nil
			},
		},
	}
	for i, line := range s.portLines() {
		if i == maxTold {
			steps = append(steps, plan.Step{
				Op: "nft add rule", Object: "inet " + bridge + " " + line.Chain,
				Args: []plan.Arg{plan.A("more", len(s.portLines())-maxTold)}, Why: "and so on",
			})
			break
		}
		steps = append(steps, ruleStep(bridge, line, func() string { return s.portLines()[i].Text }))
	}
	return append(
		steps,
		plan.Step{
			Op: "NFNL_MSG_BATCH_END", Object: "table inet " + bridge,
			Why: "commit: all ports at once",
			Do:  s.applyRules,
			// While the lease is still there, so that a port is without rules before it is free for others.
			Undo: func() error { return s.dropPorts(context.WithoutCancel(s.ctx)) },
		},
		plan.Step{
			Op: "IPCTNL_MSG_CT_DELETE", Object: "UDP flows to the published ports",
			Why: "a client that has sent before the rules were there would go on to reach the host",
			Do: func() error {
				ns, err := s.host.netns()
				if err != nil {
					return err
				}
				return firewall.ForgetUDP(ns, s.attachment.Ports)
			},
		},
	)
}

// portLines are the rules of the published ports. Their number does not depend on which ports there are to be had.
func (s *Setup) portLines() []firewall.Line {
	return firewall.Box{
		ID: s.spec.ID, Ports: s.attachment.Ports, IPv4: s.address(false).Addr(), IPv6: s.address(true).Addr(),
	}.Lines()
}

// setHairpin lets the bridge send a frame back to the port that it came from. Without br_netfilter, a packet for a
// published port goes up to the host, and comes to the bridge anew. With it, the rules are applied in the bridge, which
// then has a frame from a port to the same port. Not more often than needed: with hairpin on, a box hears its own
// broadcasts.
func (s *Setup) setHairpin() error {
	for _, name := range []string{"iptables", "ip6tables"} {
		if value, err := s.host.sysctl("net/bridge/bridge-nf-call-" + name); err == nil && value != "0" {
			return s.host.onLink(s.lease.Link, func(h *netlink.Handle, link netlink.Link) error {
				return h.LinkSetHairpin(link, true)
			})
		}
	}
	return nil
}

// holdPorts takes the ports under the lock, one mapping after the other, so that those of one box don't meet either.
func (s *Setup) holdPorts() error {
	err := s.update(s.ctx, func(n *lease.Network) error {
		l := n.Lease(s.spec.ID)
		if l == nil {
			return fmt.Errorf("lease of %s: %w", s.spec.ID, fs.ErrNotExist)
		}
		used, err := s.usedPorts(n)
		if err != nil {
			return err
		}
		ns, err := s.host.netns()
		if err != nil {
			return err
		}
		l.Ports, l.Published = nil, false
		for _, m := range s.spec.Ports {
			settled, sockets, err := port.Hold(ns, m, used)
			if err != nil {
				return err
			}
			s.attachment.Sockets = append(s.attachment.Sockets, sockets...)
			l.Ports = append(l.Ports, settled)
			used = append(used, port.User{Mapping: settled, Box: s.called(s.spec.ID)})
		}
		s.attachment.Ports = l.Ports
		s.network, s.lease = n, l
		return nil
	})
	if err != nil {
		s.attachment.CloseSockets() // a step that fails is not undone
	}
	return err
}

// usedPorts are those of other boxes, on all bridges of the host.
func (s *Setup) usedPorts(n *lease.Network) ([]port.User, error) {
	used := n.Ports(s.spec.ID)
	names, err := lease.List(s.spec.State)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == n.Bridge {
			continue
		}
		other, err := lease.File{Folder: s.spec.State, Bridge: name}.Read()
		if err != nil {
			return nil, err
		}
		used = append(used, other.Ports("")...)
	}
	for i := range used {
		used[i].Box = s.called(used[i].Box)
	}
	return used, nil
}

func (s *Setup) called(id string) string {
	if s.spec.Called == nil {
		return id
	}
	return s.spec.Called(id)
}

func (s *Setup) applyRules() error {
	return s.update(s.ctx, func(n *lease.Network) error {
		l := n.Lease(s.spec.ID)
		if l == nil {
			return fmt.Errorf("lease of %s: %w", s.spec.ID, fs.ErrNotExist)
		}
		l.Published = true
		fw, err := s.host.firewall()
		if err != nil {
			return err
		}
		return fw.Publish(ruleset(n), s.spec.ID)
	})
}

// dropPorts takes the rules out, and then the ports from the lease.
func (s *Setup) dropPorts(ctx context.Context) error {
	return s.update(ctx, func(n *lease.Network) error {
		if l := n.Lease(s.spec.ID); l != nil {
			l.Ports, l.Published = nil, false
		}
		fw, err := s.host.firewall()
		if err != nil {
			return err
		}
		return fw.Apply(ruleset(n))
	})
}
