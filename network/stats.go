package network

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
)

// Stats are a link's counters, as the box sees them (struct rtnl_link_stats64).
type Stats struct {
	Interface string `json:"interface"`
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// Stats reads the counters of the host's end of an attachment, and gives them from the box's side: what the host's end
// receives, the box sent.
func (a *Attachment) Stats() (Stats, error) {
	host := hostSpace(a.Host, a.State)
	defer host.close()
	link, err := host.link(a.Link)
	if err == nil && link == nil {
		err = fs.ErrNotExist
	}
	if err == nil && link.Attrs().Statistics == nil {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return Stats{}, fmt.Errorf("network: statistics of link %q: %w", a.Link, err)
	}
	s := link.Attrs().Statistics
	return Stats{
		Interface: a.Interface,
		RxBytes:   s.TxBytes, RxPackets: s.TxPackets, RxErrors: s.TxErrors, RxDropped: s.TxDropped,
		TxBytes: s.RxBytes, TxPackets: s.RxPackets, TxErrors: s.RxErrors, TxDropped: s.RxDropped,
	}, nil
}

// NamespaceStats reads the counters of every link but lo in a network namespace.
func NamespaceStats(path string) ([]Stats, error) {
	sp := hostSpace(path, "")
	defer sp.close()
	h, err := sp.netlink()
	if err != nil {
		return nil, fmt.Errorf("network: statistics: %w", err)
	}
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("network: statistics of %s: %w", path, err)
	}
	var all []Stats
	for _, link := range links {
		s := link.Attrs().Statistics
		if link.Attrs().Name == "lo" || s == nil {
			continue
		}
		all = append(all, Stats{
			Interface: link.Attrs().Name,
			RxBytes:   s.RxBytes, RxPackets: s.RxPackets, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
			TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxErrors: s.TxErrors, TxDropped: s.TxDropped,
		})
	}
	return all, nil
}
