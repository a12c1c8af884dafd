package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"tandem/network/lease"
)

// Store is one state folder, and the host that its bridges are in.
type Store struct {
	State string // DefaultState if empty
	Host  string // the caller's namespace if empty
}

// Leftover is something of a box that is gone.
type Leftover struct {
	Kind   string `json:"kind"` // lease, link, bridge, table
	Name   string `json:"name"`
	Bridge string `json:"bridge"`
	ID     string `json:"id,omitempty"` // the box, if known
	Why    string `json:"why"`          // how it is known that nobody needs it
}

// Leftovers lists what boxes left behind that ended without a Detach. alive tells whether the box of an ID still is;
// nil asks the kernel alone: a veth goes with its namespace, a tap does not. Where one bridge can't be looked at, the
// others still are, and an error is returned with what was found.
func (s Store) Leftovers(ctx context.Context, alive func(id string) bool) ([]Leftover, error) {
	return s.each(ctx, func(sp *space, file lease.File) ([]Leftover, error) {
		n, err := file.Read()
		if err != nil {
			return nil, err
		}
		if len(n.Leases) > 0 && n.Host != file.Host {
			return nil, fmt.Errorf("%s: %w", file.Path(), lease.ErrOtherHost)
		}
		return sp.leftovers(n, alive)
	})
}

// Collect removes what Leftovers lists, and returns it.
func (s Store) Collect(ctx context.Context, alive func(id string) bool) ([]Leftover, error) {
	return s.each(ctx, func(sp *space, file lease.File) (found []Leftover, err error) {
		err = file.Update(ctx, func(n *lease.Network) error {
			if found, err = sp.leftovers(n, alive); err != nil {
				return err
			}
			if _, err := sp.collectLeases(n, alive); err != nil {
				return err
			}
			for _, f := range found {
				if f.Kind == "link" {
					if err := sp.deleteLink(f.Name); err != nil {
						return err
					}
				}
			}
			if len(n.Leases) == 0 && len(found) > 0 {
				return sp.removeNetwork(n.Bridge)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return found, nil
	})
}

// each calls f for every bridge that there is a trace of: its leases, the bridge itself, its rules.
func (s Store) each(ctx context.Context, f func(*space, lease.File) ([]Leftover, error)) ([]Leftover, error) {
	sp := hostSpace(s.Host, s.State)
	var all []Leftover
	err := func() error {
		ns, err := sp.netns()
		if err != nil {
			return err
		}
		bridges, err := sp.bridges()
		if err != nil {
			return err
		}
		var errs []error
		for _, bridge := range bridges {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			found, err := f(sp, lease.File{Folder: sp.state, Bridge: bridge, Host: ns.ID()})
			all = append(all, found...)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}()
	if err = errors.Join(err, sp.close()); err != nil {
		return all, fmt.Errorf("network: %w", err)
	}
	return all, nil
}

func (sp *space) bridges() ([]string, error) {
	names, err := lease.List(sp.state)
	if err != nil {
		return nil, err
	}
	links, err := sp.links()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if isBridge(l) {
			names = append(names, l.Attrs().Name)
		}
	}
	fw, err := sp.firewall()
	if err != nil {
		return nil, err
	}
	tables, err := fw.Tables()
	if err != nil {
		return nil, err
	}
	names = append(names, tables...)
	names = slices.DeleteFunc(names, func(name string) bool { return checkBridgeName(name) != nil })
	slices.Sort(names)
	return slices.Compact(names), nil
}

// leftovers are those of one bridge. Where the bridge is somebody else's, or has its leases elsewhere, so may be all
// that looks like a leftover of it, but for what is leased here.
func (sp *space) leftovers(n *lease.Network, alive func(string) bool) ([]Leftover, error) {
	var found []Leftover
	inUse := false
	for i := range n.Leases {
		l := &n.Leases[i]
		why, err := sp.dead(l, alive)
		if err != nil {
			return nil, err
		}
		if why == "" {
			inUse = true
			continue
		}
		name := fmt.Sprint(n.Address4(l.Number).Addr())
		found = append(found, Leftover{Kind: "lease", Name: name, Bridge: n.Bridge, ID: l.ID, Why: why})
	}
	bridge, err := sp.link(n.Bridge)
	if err != nil || bridge != nil && !sp.ownBridge(bridge) {
		return found, err
	}
	links, err := sp.strayLinks(n)
	if err != nil || inUse {
		return append(found, links...), err
	}
	shared, err := sp.strayNetwork(n, bridge, links)
	return slices.Concat(found, links, shared), err
}

// dead tells how it is known that nobody needs a lease; it is "" if somebody may.
func (sp *space) dead(l *lease.Lease, alive func(string) bool) (why string, err error) {
	if !l.Attached {
		if l.By.Alive() {
			return "", nil
		}
		return fmt.Sprintf("process %d ended while it attached the box", l.By.PID), nil
	}
	link, err := sp.link(l.Link)
	switch {
	case err != nil:
		return "", err
	case link == nil:
		return fmt.Sprintf("its link %s is gone", l.Link), nil
	case alive != nil && !alive(l.ID):
		return "the box is gone", nil
	}
	return "", nil
}

// strayLinks are links of boxes without a lease.
func (sp *space) strayLinks(n *lease.Network) ([]Leftover, error) {
	links, err := sp.links()
	if err != nil {
		return nil, err
	}
	var found []Leftover
	for _, link := range links {
		name := link.Attrs().Name
		id, ok := parseLinkAlias(link.Attrs().Alias, n.Bridge)
		own := ok && (name == linkName(vethKind, n.Bridge, id) || name == linkName(tapKind, n.Bridge, id))
		if own && n.Lease(id) == nil {
			found = append(found, Leftover{Kind: "link", Name: name, Bridge: n.Bridge, ID: id, Why: "it has no lease"})
		}
	}
	return found, nil
}

// strayNetwork is what is left of a bridge that no box is on: the bridge, unless more is plugged into it than stray
// links, and its rules.
func (sp *space) strayNetwork(n *lease.Network, bridge netlink.Link, stray []Leftover) ([]Leftover, error) {
	const why = "no box is on the bridge"
	var found []Leftover
	if bridge != nil {
		plugged, err := sp.plugged(bridge)
		if err != nil {
			return nil, err
		}
		for _, l := range plugged {
			name := l.Attrs().Name
			leased := slices.ContainsFunc(n.Leases, func(l lease.Lease) bool { return l.Link == name })
			if !leased && !slices.ContainsFunc(stray, func(s Leftover) bool { return s.Name == name }) {
				return nil, nil
			}
		}
		found = append(found, Leftover{Kind: "bridge", Name: n.Bridge, Bridge: n.Bridge, Why: why})
	}
	fw, err := sp.firewall()
	if err != nil {
		return nil, err
	}
	has, err := fw.Has(n.Bridge)
	if err == nil && has {
		found = append(found, Leftover{Kind: "table", Name: "inet " + n.Bridge, Bridge: n.Bridge, Why: why})
	}
	return found, err
}

// collectLeases takes down the boxes of a network that are gone, and counts them.
func (sp *space) collectLeases(n *lease.Network, alive func(string) bool) (int, error) {
	var gone []string
	for i := range n.Leases {
		why, err := sp.dead(&n.Leases[i], alive)
		if err != nil {
			return 0, err
		}
		if why != "" {
			gone = append(gone, n.Leases[i].ID)
		}
	}
	for _, id := range gone {
		if err := sp.detach(n, id); err != nil {
			return 0, err
		}
	}
	return len(gone), nil
}

// Reload puts back the rules of every bridge that has boxes. It is for after a `nft flush ruleset`, or a firewall
// that was started anew.
func (s Store) Reload(ctx context.Context) error {
	_, err := s.each(ctx, func(sp *space, file lease.File) ([]Leftover, error) {
		return nil, file.Update(ctx, func(n *lease.Network) error {
			if len(n.Leases) == 0 {
				return nil
			}
			fw, err := sp.firewall()
			if err != nil {
				return err
			}
			if err := fw.Apply(ruleset(n)); err != nil {
				return err
			}
			_, _, err = fw.Admit(n.Bridge)
			return err
		})
	})
	return err
}

// String is the leftover on one line.
func (l Leftover) String() string {
	words := []string{l.Kind, l.Name, "on", l.Bridge}
	if l.ID != "" {
		words = append(words, "of", l.ID)
	}
	return strings.Join(words, " ") + ": " + l.Why
}
