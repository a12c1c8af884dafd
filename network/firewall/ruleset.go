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
	name     string // and its hook's
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	order    string // how nft(8) prints the priority there
}

// The chains, in the order in which a packet meets them. Their places are those of iptables' NAT and filter tables.
var chains = []chain{
	{"published", "", nil, nil, ""},
	{"prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, "dstnat"},
	{"output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, "-100"},
	{"forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, "filter"},
	{"postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "srcnat"},
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
		why := "what comes for the host may be for a published port"
		if name == "output" {
			why = "and so may what the host sends to itself"
		}
		rules = append(rules,
			rule{name, []part{daddrNot(loopback4), toHost(), jump("published")}, "", why},
			rule{name, []part{daddrNot(loopback6), toHost(), jump("published")}, "", why})
	}
	in, out, outside := iifname(r.Bridge), oifname(r.Bridge), iifnameNot(r.Bridge)
	for _, subnet := range r.subnets() {
		parts := []part{in, oifnameNot(r.Bridge), saddrNot(subnet), drop()}
		rules = append(rules, rule{"forward", parts, "not its address", "a box sends as itself or not at all"})
	}
	rules = append(rules,
		rule{"forward", []part{out, outside, known(), accept()}, "", "replies"},
		rule{"forward", []part{out, outside, published(), accept()}, "", "what came to a published port"},
		rule{
			"forward",
			[]part{out, outside, drop()},
			"not published",
			"and nothing else: a neighbour could route to the boxes' subnet",
		})
	for _, subnet := range r.subnets() {
		rules = append(rules,
			rule{
				"postrouting",
				[]part{oifnameNot(r.Bridge), saddr(subnet), masquerade()},
				"out",
				"outside, nobody knows the way to the boxes' subnet: there they appear as the host",
			},
			rule{
				"postrouting",
				[]part{out, saddr(subnet), published(), masquerade()},
				"box to box by a published port",
				"the reply would go to its neighbour directly, who never asked that address",
			})
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

func (b Box) rule(parts ...part) rule {
	return rule{"published", parts, b.ID, "packets for the port of the host get the box's address"}
}

// Line is a rule for people.
type Line struct {
	Chain string
	Text  string // as nft(8) prints it
	Why   string
}

// Lines are the rules that boxes share.
func (r Ruleset) Lines() []Line {
	r.Boxes = nil
	return lines(r.rules())
}

// Lines are the rules of a box's published ports.
func (b Box) Lines() []Line { return lines(b.rules()) }

func lines(rules []rule) []Line {
	var all []Line
	for _, r := range rules {
		all = append(all, Line{r.chain, r.String(), r.why})
	}
	return all
}

// Chains are the chains of a table, each as nft(8) prints its first line.
func Chains() []string {
	var all []string
	for _, c := range chains {
		all = append(all, c.name+" "+c.definition())
	}
	return all
}

func (c chain) definition() string {
	if c.hook == nil {
		return "{}"
	}
	return fmt.Sprintf("{ type %s hook %s priority %s; }", c.kind, c.name, c.order)
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
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.kind, c.name, c.order)
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
