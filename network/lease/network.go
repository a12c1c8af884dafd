package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tandem/network/netns"
	"tandem/network/port"
)

const (
	// version is that of the file's form.
	version = 1
	// gateway is the bridge's own number.
	gateway = 1
)

// What errors wrap.
var (
	// ErrFull is the error for a network without a free address.
	ErrFull = errors.New("every address is leased")
	// ErrTaken is the error for an address that another box has.
	ErrTaken = errors.New("address is taken")
	// ErrCorrupt is the error for a file that can't be understood.
	ErrCorrupt = errors.New("corrupted")
	// ErrOtherHost is the error for a file that tells of boxes on a bridge in another network namespace.
	ErrOtherHost = errors.New("leases are of another network namespace")
)

// Lease is one box's part of a network.
type Lease struct {
	ID     string         `json:"id"`
	Number uint32         `json:"number"` // the host part of its addresses
	Link   string         `json:"link"`   // the host's end
	Tap    bool           `json:"tap,omitempty"`
	NoIPv6 bool           `json:"noIPv6,omitempty"` // it does not use its IPv6 address
	Ports  []port.Mapping `json:"ports,omitempty"`
	// Published tells that there are rules for Ports. Until then they are but held.
	Published bool `json:"published,omitempty"`
	// Attached tells that the work was finished. Until then it is By's.
	Attached bool    `json:"attached"`
	By       Process `json:"by"`
}

// Network is what the file of a bridge holds.
type Network struct {
	Version int      `json:"version"`
	Boot    string   `json:"boot"` // of /proc/sys/kernel/random/boot_id
	Host    netns.ID `json:"host"` // the namespace that the bridge is in
	Bridge  string   `json:"bridge"`
	// IPv4 and IPv6 are the subnets. Without leases they are zero: whoever takes the first one sets them. IPv6 is
	// zero too where there is none.
	IPv4   netip.Prefix `json:"ipv4,omitzero"`
	IPv6   netip.Prefix `json:"ipv6,omitzero"`
	MTU    int          `json:"mtu,omitempty"`
	Last   uint32       `json:"last,omitempty"` // the number given out last
	Leases []Lease      `json:"leases"`
}

// CheckSubnets says what is wrong with the subnets of a network. The second may be zero.
func CheckSubnets(ipv4, ipv6 netip.Prefix) error {
	switch {
	case !ipv4.IsValid() || !ipv4.Addr().Is4() || ipv4 != ipv4.Masked():
		return fmt.Errorf("subnet %v: want an IPv4 prefix without host bits", ipv4)
	case ipv4.Bits() < 8 || ipv4.Bits() > 30:
		return fmt.Errorf("subnet %v: want /8 to /30", ipv4)
	case ipv4.Addr().IsMulticast() || ipv4.Addr().IsLoopback() || ipv4.Addr().IsUnspecified():
		return fmt.Errorf("subnet %v: not for hosts", ipv4)
	case ipv6 == netip.Prefix{}:
		return nil
	case !ipv6.Addr().Is6() || ipv6.Addr().Is4In6() || ipv6 != ipv6.Masked():
		return fmt.Errorf("subnet %v: want an IPv6 prefix without host bits", ipv6)
	case ipv6.Bits() < 16 || ipv6.Bits() > 96:
		return fmt.Errorf("subnet %v: want /16 to /96", ipv6)
	case ipv6.Addr().IsMulticast() || ipv6.Addr().IsLinkLocalUnicast():
		return fmt.Errorf("subnet %v: not for hosts", ipv6)
	}
	return nil
}

// Address4 is a number's IPv4 address with the length of the subnet.
func (n *Network) Address4(number uint32) netip.Prefix {
	base := n.IPv4.Addr().As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])+number)
	return netip.PrefixFrom(netip.AddrFrom4(base), n.IPv4.Bits())
}

// Address6 is a number's IPv6 address with the length of the subnet, and zero if the network has no IPv6.
func (n *Network) Address6(number uint32) netip.Prefix {
	if !n.IPv6.IsValid() {
		return netip.Prefix{}
	}
	base := n.IPv6.Addr().As16()
	binary.BigEndian.PutUint32(base[12:], binary.BigEndian.Uint32(base[12:])+number)
	return netip.PrefixFrom(netip.AddrFrom16(base), n.IPv6.Bits())
}

// Addresses are a number's, IPv4 first.
func (n *Network) Addresses(number uint32) []netip.Prefix {
	all := []netip.Prefix{n.Address4(number)}
	if six := n.Address6(number); six.IsValid() {
		all = append(all, six)
	}
	return all
}

// Gateways are the bridge's own addresses.
func (n *Network) Gateways() []netip.Prefix { return n.Addresses(gateway) }

// last is the largest number that a box can have: the one above it is the broadcast address of IPv4.
func (n *Network) last() uint32 { return 1<<(32-n.IPv4.Bits()) - 2 }

// number is the inverse of Addresses.
func (n *Network) number(ip netip.Addr) (uint32, error) {
	subnet := n.IPv4
	if ip.Is6() {
		subnet = n.IPv6
	}
	if !subnet.IsValid() || !subnet.Contains(ip) {
		return 0, fmt.Errorf("address %s: not in %s's subnet %v", ip, n.Bridge, subnet)
	}
	host, base := ip.AsSlice(), subnet.Addr().AsSlice()
	at := len(host) - 4
	number := binary.BigEndian.Uint32(host[at:]) - binary.BigEndian.Uint32(base[at:])
	if !slices.Equal(host[:at], base[:at]) || number <= gateway || number > n.last() {
		return 0, fmt.Errorf("address %s: want one from %s to %s", ip,
			n.addressLike(ip, gateway+1).Addr(), n.addressLike(ip, n.last()).Addr())
	}
	return number, nil
}

func (n *Network) addressLike(ip netip.Addr, number uint32) netip.Prefix {
	if ip.Is4() {
		return n.Address4(number)
	}
	return n.Address6(number)
}

// Lease finds the lease of a box, nil if there is none. The pointer is good until the next Take or Release.
func (n *Network) Lease(id string) *Lease {
	for i := range n.Leases {
		if n.Leases[i].ID == id {
			return &n.Leases[i]
		}
	}
	return nil
}

func (n *Network) holderOf(number uint32) *Lease {
	for i := range n.Leases {
		if n.Leases[i].Number == number {
			return &n.Leases[i]
		}
	}
	return nil
}

// Take leases a number to the box: that of the address, or the next free one if want is zero. The network has its
// subnets, and the box no lease.
func (n *Network) Take(id string, want netip.Addr) (*Lease, error) {
	if n.Lease(id) != nil {
		return nil, fmt.Errorf("lease: %s: %s has a lease", n.Bridge, id)
	}
	var number uint32
	if want.IsValid() {
		var err error
		if number, err = n.number(want); err != nil {
			return nil, fmt.Errorf("lease: %s: %w", n.Bridge, err)
		}
		if other := n.holderOf(number); other != nil {
			return nil, fmt.Errorf("lease: %s: %s: %w by %s", n.Bridge, want, ErrTaken, other.ID)
		}
	} else if number = n.Next(); number == 0 {
		return nil, fmt.Errorf("lease: %s: %w: %d in %v", n.Bridge, ErrFull, len(n.Leases), n.IPv4)
	}
	n.Last = number
	n.Leases = append(n.Leases, Lease{ID: id, Number: number})
	return &n.Leases[len(n.Leases)-1], nil
}

// Next is the number that Take would give, 0 if there is none.
func (n *Network) Next() uint32 {
	used := make(map[uint32]bool, len(n.Leases))
	for _, l := range n.Leases {
		used[l.Number] = true
	}
	size := n.last() - gateway
	if uint32(len(used)) >= size {
		return 0
	}
	start := max(n.Last, gateway) - gateway // the numbers counted from 0: the one after Last
	for i := range size {
		if number := gateway + 1 + (start+i)%size; !used[number] {
			return number
		}
	}
	return 0
}

// Release gives back a box's lease, if it has one.
func (n *Network) Release(id string) {
	n.Leases = slices.DeleteFunc(n.Leases, func(l Lease) bool { return l.ID == id })
}

// Ports are the published ports of all boxes but one.
func (n *Network) Ports(but string) []port.User {
	var used []port.User
	for _, l := range n.Leases {
		if l.ID == but {
			continue
		}
		for _, m := range l.Ports {
			used = append(used, port.User{Mapping: m, Box: l.ID})
		}
	}
	return used
}

// check says what a sound file can't hold.
func (n *Network) check(bridge string) error {
	switch {
	case n.Version != version:
		return fmt.Errorf("version %d, this tandem knows %d", n.Version, version)
	case n.Bridge != bridge:
		return fmt.Errorf("it is of bridge %q", n.Bridge)
	case len(n.Leases) == 0:
		return nil
	case n.MTU <= 0:
		return fmt.Errorf("MTU %d", n.MTU)
	}
	if err := CheckSubnets(n.IPv4, n.IPv6); err != nil {
		return err
	}
	ids, numbers, links := make(map[string]bool), make(map[uint32]bool), make(map[string]bool)
	for i, l := range n.Leases {
		switch {
		case l.ID == "" || ids[l.ID]:
			return fmt.Errorf("lease %d: ID %q", i+1, l.ID)
		case l.Number <= gateway || l.Number > n.last() || numbers[l.Number]:
			return fmt.Errorf("lease %d (%s): number %d", i+1, l.ID, l.Number)
		case l.Link == "" || links[l.Link]:
			return fmt.Errorf("lease %d (%s): link %q", i+1, l.ID, l.Link)
		}
		for _, m := range l.Ports {
			if err := m.Check(); err != nil || !m.Settled() {
				return fmt.Errorf("lease %d (%s): port %s: %w", i+1, l.ID, m, err)
			}
		}
		ids[l.ID], numbers[l.Number], links[l.Link] = true, true, true
	}
	return nil
}
