package firewall

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"

	"tandem/network/port"
)

// Ruleset is what the rules of one bridge follow from.
type Ruleset struct {
	Bridge string
	IPv4   netip.Prefix
	IPv6   netip.Prefix // zero without IPv6
	Boxes  []Box        // those with published ports
}

// Box is one that has published ports.
type Box struct {
	ID    string
	IPv4  netip.Addr
	IPv6  netip.Addr // zero without IPv6
	Ports []port.Mapping
}

// chain is a chain of a table. One without a hook is jumped to.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	hookName string
	priority *nftables.ChainPriority
	order    string
}

// The chains, in the order in which a packet meets them. Their places are those of iptables' NAT and filter tables.
var chains = []chain{
	{"published", "", nil, "", nil, ""},
	{"prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, "prerouting", nftables.ChainPriorityNATDest, "dstnat"},
	{"output", nftables.ChainTypeNAT, nftables.ChainHookOutput, "output", nftables.ChainPriorityNATDest, "-100"},
	{"forward", nftables.ChainTypeFilter, nftables.ChainHookForward, "forward", nftables.ChainPriorityFilter, "filter"},
	{"postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, "postrouting", nftables.ChainPriorityNATSource, "srcnat"},
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
)

// rules are those of all chains, in order.
func (r Ruleset) rules() []rule {
	var rules []rule
	for _, b := range r.Boxes {
		rules = append(rules, b.rules()...)
	}
	// A packet for 127.0.0.1 is never turned around here, neither one of the host's own, which the relay is for, nor
	// one that a neighbour on the uplink made up: the kernel would drop that, but looks at it only after this chain.
	for _, name := range []string{"prerouting", "output"} {
		rules = append(rules,
			rule{name, []part{daddrNot(loopback4), toHost(), jump("published")}, ""},
			rule{name, []part{daddrNot(loopback6), toHost(), jump("published")}, ""})
	}
	in, out := iifname(r.Bridge), oifname(r.Bridge)
	for _, subnet := range r.subnets() {
		rules = append(rules, rule{"forward", []part{in, oifnameNot(r.Bridge), saddrNot(subnet), drop()}, "not its address"})
	}
	rules = append(rules,
		rule{"forward", []part{out, iifnameNot(r.Bridge), known(), accept()}, ""},
		rule{"forward", []part{out, iifnameNot(r.Bridge), published(), accept()}, ""},
		rule{"forward", []part{out, iifnameNot(r.Bridge), drop()}, "not published"})
	for _, subnet := range r.subnets() {
		rules = append(rules,
			rule{"postrouting", []part{oifnameNot(r.Bridge), saddr(subnet), masquerade()}, "out"},
			rule{"postrouting", []part{out, saddr(subnet), published(), masquerade()}, "box to box by a published port"})
	}
	return rules
}

func (r Ruleset) subnets() []netip.Prefix {
	if r.IPv6.IsValid() {
		return []netip.Prefix{r.IPv4, r.IPv6}
	}
	return []netip.Prefix{r.IPv4}
}

// rules are those of a box's published ports, which bear its ID.
func (b Box) rules() []rule {
	var rules []rule
	for _, m := range b.Ports {
		for _, ip := range m.Listens() {
			to := b.IPv4
			if ip.Is6() {
				to = b.IPv6
			}
			if !to.IsValid() || ip.IsLoopback() {
				continue // the relay's
			}
			match := family(ip.Is6())
			if !ip.IsUnspecified() {
				match = daddr(single(ip))
			}
			if m.Count == 1 {
				rules = append(rules, b.rule(match, dport(m.Protocol, m.HostPort, m.HostPort), dnat(to, m.BoxPort)))
				continue
			}
			if m.HostPort == m.BoxPort { // a port that isn't given stays as it is
				rules = append(rules, b.rule(match, dport(m.Protocol, m.HostPort, m.Last()), dnat(to, 0)))
				continue
			}
			for i := range m.Count {
				at := m.HostPort + i
				rules = append(rules, b.rule(match, dport(m.Protocol, at, at), dnat(to, m.BoxPort+i)))
			}
		}
	}
	return rules
}

func (b Box) rule(parts ...part) rule { return rule{"published", parts, b.ID} }

// PortRules are the rules of a box's published ports, as nft(8) prints them.
func (b Box) PortRules() []string {
	var text []string
	for _, r := range b.rules() {
		text = append(text, r.String())
	}
	return text
}

// String is the table, as nft(8) prints it.
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", r.Bridge)
	rules := r.rules()
	for i, c := range chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != nil {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.kind, c.hookName, c.order)
		}
		for _, rule := range rules {
			if rule.chain == c.name {
				fmt.Fprintf(&b, "\t\t%s\n", rule)
			}
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}
