package network

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/network/lease"
	"tandem/network/resolv"
)

// What is chosen for a bridge by the first box on it follows from what the host has.

const (
	// subnetBits leave as many addresses as a bridge has ports (BR_MAX_PORTS, 1024).
	subnetBits = 22
	// shortest is the length below which a route is taken for a default route, and clashes with nothing: VPNs have
	// two of /1.
	shortest = 8
)

// pools are the private ranges (RFC 1918) that subnets are cut from, in order. The first are none of those that
// routers, docker, podman and libvirt begin with.
var pools = []netip.Prefix{
	netip.MustParsePrefix("10.77.0.0/16"),
	netip.MustParsePrefix("10.177.0.0/16"),
	netip.MustParsePrefix("172.29.0.0/16"),
	netip.MustParsePrefix("192.168.160.0/19"),
}

// uplinkMTU is the MTU of the way out: the smallest of the default routes' links, and defaultMTU without any.
func (s *space) uplinkMTU() (int, error) {
	h, err := s.netlink()
	if err != nil {
		return 0, err
	}
	mtu := 0
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		route, err := defaultRoute(h, family)
		if err != nil {
			return 0, err
		}
		if route == nil {
			continue
		}
		link, err := h.LinkByIndex(route.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("link of the default route: %w", err)
		}
		size := link.Attrs().MTU
		if route.MTU > 0 {
			size = min(size, route.MTU)
		}
		if size >= minMTU && (mtu == 0 || size < mtu) {
			mtu = size
		}
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return min(mtu, maxMTU), nil
}

func defaultRoute(h *netlink.Handle, family int) (*netlink.Route, error) {
	routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var best *netlink.Route
	for i, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() || prefixOf(r).Bits() > 0 || r.Type != unix.RTN_UNICAST {
			continue
		}
		if r.LinkIndex == 0 && len(r.MultiPath) > 0 {
			routes[i].LinkIndex = r.MultiPath[0].LinkIndex
		}
		if routes[i].LinkIndex != 0 && (best == nil || r.Priority < best.Priority) {
			best = &routes[i]
		}
	}
	return best, nil
}

// prefixOf is a route's destination; a default route's is of length 0.
func prefixOf(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		return netip.Prefix{}
	}
	ip, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits)
}

// busy lists what a new subnet must not overlap: the destinations of all routes of the host, its name servers, and the
// subnets of other bridges, which may be without addresses yet.
func (s *space) busy(state, bridge string) ([]netip.Prefix, error) {
	h, err := s.netlink()
	if err != nil {
		return nil, err
	}
	every := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, every, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if p := prefixOf(r); p.IsValid() && p.Bits() >= shortest && !p.Addr().IsMulticast() {
			taken = append(taken, p)
		}
	}
	// Without the file, or one that can be read, there are no servers to spare.
	if text, err := resolv.ReadHost(false); err == nil {
		for _, ip := range resolv.Servers(text) {
			taken = append(taken, netip.PrefixFrom(ip.Unmap().WithZone(""), ip.Unmap().BitLen()))
		}
	}
	names, err := lease.List(state)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == bridge {
			continue
		}
		n, err := lease.File{Folder: state, Bridge: name}.Read()
		if err != nil {
			continue // whoever attaches a box there is told
		}
		for _, p := range []netip.Prefix{n.IPv4, n.IPv6} {
			if p.IsValid() {
				taken = append(taken, p)
			}
		}
	}
	return taken, nil
}

// chooseSubnet4 looks for a free one, from a place on that the bridge's name gives: tandem0 has the first.
func chooseSubnet4(bridge string, taken []netip.Prefix) (netip.Prefix, error) {
	var all []netip.Prefix
	for _, pool := range pools {
		base := binary.BigEndian.Uint32(pool.Addr().AsSlice())
		for i := range uint32(1) << (subnetBits - pool.Bits()) {
			var ip [4]byte
			binary.BigEndian.PutUint32(ip[:], base+i<<(32-subnetBits))
			all = append(all, netip.PrefixFrom(netip.AddrFrom4(ip), subnetBits))
		}
	}
	start := firstSubnet(bridge)
	for i := range all {
		subnet := all[(start+i)%len(all)]
		if !overlaps(subnet, taken) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no subnet of %v is free: the host has routes to all; ask for another", pools)
}

func firstSubnet(bridge string) int {
	digits := strings.TrimPrefix(bridge, strings.TrimRight(bridge, "0123456789"))
	if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
		return int(n)
	}
	sum := sha256.Sum256([]byte(bridge))
	return int(binary.BigEndian.Uint16(sum[:]))
}

// chooseSubnet6 makes a unique local prefix (RFC 4193, 3.2.2): 40 random bits, which here follow from the machine's ID,
// so that they are the same after a restart. That ID is to be kept private, and can't be found from a hash of it
// (machine-id(5)).
func chooseSubnet6(bridge string, taken []netip.Prefix) netip.Prefix {
	seed, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(seed) == 0 {
		seed = make([]byte, 16)
		rand.Read(seed)
	}
	for i := byte(0); ; i++ {
		sum := sha256.Sum256(append([]byte("tandem "+bridge+string(rune(i))), seed...))
		ip := [16]byte{0xfd}
		copy(ip[1:], sum[:5])
		if subnet := netip.PrefixFrom(netip.AddrFrom16(ip), 64); i == 255 || !overlaps(subnet, taken) {
			return subnet
		}
	}
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, other := range taken {
		if p.Overlaps(other) {
			return true
		}
	}
	return false
}

// wantsIPv6 tells whether a new bridge gets IPv6, and if not, why.
func (s *space) wantsIPv6(mtu int) (why string, err error) {
	off, err := s.sysctl("net/ipv6/conf/default/disable_ipv6")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the kernel has none", nil
	case err != nil:
		return "", err
	case off != "0":
		return "net.ipv6.conf.default.disable_ipv6 is " + off, nil
	case mtu < minMTU6:
		return fmt.Sprintf("the MTU of %d is below %d", mtu, minMTU6), nil
	}
	return "", nil
}
