package network

import (
	"context"
	"errors"
	"fmt"

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
func (sp *space) detach(n *lease.Network, id string) error {
	for _, kind := range []string{vethKind, tapKind} { // without a lease, it may be either
		if err := sp.deleteLink(linkName(kind, n.Bridge, id)); err != nil {
			return err
		}
	}
	own := lease.Lease{}
	if l := n.Lease(id); l != nil {
		own = *l
	}
	n.Release(id)
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

// removeNetwork removes what boxes of a bridge share. Where a bridge of the name is there that is somebody else's, or has
// its leases elsewhere, it removes nothing.
func (sp *space) removeNetwork(bridge string) error {
	link, err := sp.link(bridge)
	if err != nil || link != nil && !sp.ownBridge(link) {
		return err
	}
	if link != nil {
		if err := sp.removeEmptyBridge(link); err != nil {
			return err
		}
	}
	fw, err := sp.firewall()
	if err != nil {
		return err
	}
	return errors.Join(fw.Remove(bridge), fw.Revoke(bridge))
}

// removeEmptyBridge removes a bridge that no link is plugged into. One that has links is left, for it may be that leases
// were lost and boxes are alive.
func (sp *space) removeEmptyBridge(bridge netlink.Link) error {
	h, err := sp.netlink()
	if err != nil {
		return err
	}
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			return fmt.Errorf("bridge %s has no leases, but link %s (alias %q) is plugged into it: remove that first",
				bridge.Attrs().Name, l.Attrs().Name, l.Attrs().Alias)
		}
	}
	return sp.deleteLink(bridge.Attrs().Name)
}
