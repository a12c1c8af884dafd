package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"tandem/network/firewall"
	"tandem/network/lease"
)

// Detach takes down what Attach set up: link, rules, lease, and, with its last box, the bridge. Of the attachment it
// needs ID, Mode, State and Host alone, and all of it may be gone already.
func Detach(ctx context.Context, a *Attachment) error {
	if a.Mode.Kind != ModeBridge {
		return nil
	}
	a.CloseSockets()
	spec, err := Spec{ID: a.ID, Mode: a.Mode, State: a.State, Tap: &Tap{}}.withDefaults() // as for names
	if err != nil {
		return fmt.Errorf("network: detach %s: %w", a.ID, err)
	}
	host := hostSpace(a.Host, a.State)
	err = host.update(ctx, spec.Mode.Value, func(n *lease.Network) error { return host.detach(n, spec.ID) })
	if err = errors.Join(err, host.close()); err != nil {
		return fmt.Errorf("network: detach %s: %w", a.ID, err)
	}
	return nil
}

// update changes the leases of a bridge.
func (sp *space) update(ctx context.Context, bridge string, change func(*lease.Network) error) error {
	ns, err := sp.netns()
	if err != nil {
		return err
	}
	return lease.File{Folder: sp.state, Bridge: bridge, Host: ns.ID()}.Update(ctx, change)
}

// detach takes down what belongs to a box, and with the last one the network. It finds nothing strange in what is gone
// already. It works under the lock of the leases, and what it does to them counts only if all of it went well: what is
// left then is still leased, and so will be found.
//
// Where the bridge is somebody else's, or has its leases elsewhere, so may be all that bears the box's name.
func (sp *space) detach(n *lease.Network, id string) error {
	own := lease.Lease{}
	if l := n.Lease(id); l != nil {
		own = *l
	}
	n.Release(id)
	bridge, err := sp.link(n.Bridge)
	if err != nil || bridge != nil && !sp.ownBridge(bridge) {
		return err
	}
	for _, kind := range []string{vethKind, tapKind} { // without a lease, it may be either
		if err := sp.deleteLink(linkName(kind, n.Bridge, id)); err != nil {
			return err
		}
	}
	if len(n.Leases) == 0 {
		if err := sp.removeNetwork(n.Bridge); err != nil {
			return err
		}
	} else if len(own.Ports) > 0 {
		fw, err := sp.firewall()
		if err != nil {
			return err
		}
		if err := fw.Apply(ruleset(n)); err != nil {
			return err
		}
	}
	ns, err := sp.netns()
	if err != nil {
		return err
	}
	return firewall.ForgetUDP(ns, own.Ports)
}

// removeNetwork removes what boxes of a bridge share, unless that is not ours. A bridge that something is plugged into
// stays, with its rules: it may be that leases were lost and boxes are alive, or that somebody uses the bridge who has
// none.
func (sp *space) removeNetwork(bridge string) error {
	link, err := sp.link(bridge)
	if err != nil || link != nil && !sp.ownBridge(link) {
		return err
	}
	if link != nil {
		plugged, err := sp.plugged(link)
		if err != nil || len(plugged) > 0 {
			return err
		}
		if err := sp.deleteLink(bridge); err != nil {
			return err
		}
	}
	fw, err := sp.firewall()
	if err != nil {
		return err
	}
	return errors.Join(fw.Remove(bridge), fw.Revoke(bridge))
}

// plugged lists the links that are plugged into a bridge.
func (sp *space) plugged(bridge netlink.Link) ([]netlink.Link, error) {
	links, err := sp.links()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool {
		return l.Attrs().MasterIndex != bridge.Attrs().Index
	}), nil
}
