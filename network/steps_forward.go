package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/network/lease"
)

const forward4 = "net/ipv4/ip_forward"

// forwardStep4 makes the host a router. It stays one: others may have come to need it since, and none of them can be
// seen.
func (s *Setup) forwardStep4() plan.Step {
	var changed []Change
	return plan.Step{
		Op: "write", Object: sysctlPath(forward4), Args: []plan.Arg{plan.A("value", 1)},
		Why: "the host passes packets on between the bridge and its uplink; if it did not yet, that stays so, and is told",
		Do: func() (err error) {
			changed, err = s.change(changed, forward4, "1", "the host has to pass on packets from boxes and to them")
			return err
		},
		Undo: func() error { return s.changeBack(&changed) },
	}
}

// forwardStep6 is the same for IPv6, whose switch has a side effect: where net.ipv6.conf.all.forwarding is on, the host
// no longer heeds router advertisements, and so loses its default route when that runs out, unless accept_ra is 2.
// Since Linux 6.17 single links can be switched, by force_forwarding, without that.
func (s *Setup) forwardStep6() plan.Step {
	var changed []Change
	bridge := s.spec.Mode.Value
	step := plan.Step{
		Op: "write", Object: sysctlPath("net/ipv6/conf/*/force_forwarding"), Args: []plan.Arg{plan.A("value", 1)},
		Why: "IPv6 is passed on by the bridge and the links with global addresses; on kernels before 6.17 by all links",
		Do: func() (err error) {
			if s.network.IPv6.IsValid() {
				changed, err = s.forward6(changed, bridge)
			}
			return err
		},
		Undo: func() error { return s.changeBack(&changed) },
	}
	if !s.network.IPv6.IsValid() {
		step.Why = "nothing, as the bridge is without IPv6"
	}
	return step
}

func (s *Setup) forward6(changed []Change, bridge string) ([]Change, error) {
	const all = "net/ipv6/conf/all/forwarding"
	const why = "the host has to pass on IPv6 packets from boxes and to them"
	if value, err := s.host.sysctl(all); err != nil || value == "1" {
		return changed, err
	}
	links, err := s.host.globalLinks()
	if err != nil {
		return changed, err
	}
	own := "net/ipv6/conf/" + bridge + "/force_forwarding"
	if _, err := s.host.sysctl(own); errors.Is(err, fs.ErrNotExist) || s.oldKernel {
		for _, link := range links {
			name := "net/ipv6/conf/" + link + "/accept_ra"
			if value, err := s.host.sysctl(name); err != nil || value != "1" {
				continue // it goes by no advertisements, or by all of them
			}
			changed, err = s.change(changed, name, "2", "a host that forwards heeds router advertisements only with 2")
			if err != nil {
				return changed, err
			}
		}
		return s.change(changed, all, "1", why)
	}
	// The bridge's own switch goes with it, and is nothing to tell.
	if _, err := s.host.setSysctl(own, "1"); err != nil {
		return changed, err
	}
	for _, link := range links {
		if changed, err = s.change(changed, "net/ipv6/conf/"+link+"/force_forwarding", "1", why); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// globalLinks names the links that have a global IPv6 address, but for lo and tandem's own.
func (sp *space) globalLinks() ([]string, error) {
	h, err := sp.netlink()
	if err != nil {
		return nil, err
	}
	addrs, err := h.AddrList(nil, unix.AF_INET6)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var names []string
	seen := make(map[int]bool)
	for _, a := range addrs {
		if a.Scope != unix.RT_SCOPE_UNIVERSE || seen[a.LinkIndex] || a.IP.IsLoopback() {
			continue
		}
		seen[a.LinkIndex] = true
		link, err := h.LinkByIndex(a.LinkIndex)
		if err != nil {
			continue // gone meanwhile
		}
		if name := link.Attrs().Name; checkBridgeName(name) != nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// change switches a setting of the host, and keeps account of it.
func (s *Setup) change(changed []Change, name, value, why string) ([]Change, error) {
	old, err := s.host.setSysctl(name, value)
	if err != nil || old == value {
		return changed, err
	}
	c := Change{Name: sysctlName(name), Old: old, New: value, Why: why, path: name}
	s.attachment.Changed = append(s.attachment.Changed, c)
	return append(changed, c), nil
}

// changeBack is for a set-up that failed: nobody has been told of the change yet, and unless another box came
// meanwhile, nobody needs it.
func (s *Setup) changeBack(changed *[]Change) error {
	if len(*changed) == 0 {
		return nil
	}
	err := s.update(context.WithoutCancel(s.ctx), func(n *lease.Network) error {
		for _, l := range n.Leases {
			if l.ID != s.spec.ID {
				return nil
			}
		}
		var errs []error
		for i := len(*changed) - 1; i >= 0; i-- {
			c := (*changed)[i]
			if now, err := s.host.sysctl(c.path); err != nil || now != c.New {
				continue // its link is gone, or somebody else has switched it since
			}
			_, err := s.host.setSysctl(c.path, c.Old)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	*changed = nil
	return err
}
