package firewall

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

var familyNames = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
}

// foreign is somebody else's base chain at the hook forward, with its rules.
type foreign struct {
	chain *nftables.Chain
	rules []*nftables.Rule
}

func (f foreign) String() string {
	return fmt.Sprintf("%s %s %s", familyNames[f.chain.Table.Family], f.chain.Table.Name, f.chain.Name)
}

func (f foreign) drops() bool {
	return f.chain.Policy != nil && *f.chain.Policy == nftables.ChainPolicyDrop
}

// AdmitRules are the rules that [Conn.Admit] puts in front of others'.
func AdmitRules(bridge string) []Line { return lines(admitRules(bridge)) }

// admitRules let everything pass from and to the bridge: what may pass, the chain forward of the bridge's own table
// decides. They are what iptables-nft can print, too.
func admitRules(bridge string) []rule {
	comment := admitComment(bridge)
	return []rule{
		{"", []part{iifname(bridge), accept()}, comment, ""},
		{"", []part{oifname(bridge), accept()}, comment, ""},
	}
}

func admitComment(bridge string) string { return "tandem: " + bridge }

// Admit lets the bridge's packets through the chains of others that drop what they don't know. In nftables an accept
// ends one chain, a drop ends the packet: so rules in a table of our own can't overrule a chain of another that has
// the policy drop, as those of docker and of most firewalls have. Admit inserts two rules at the head of each, once.
// Whoever reloads such a chain takes them out; the next box that is attached puts them in again.
//
// It returns the names of the chains that it changed, and notes on what it can't help.
func (c *Conn) Admit(bridge string) (changed, notes []string, err error) {
	list, err := c.foreignForward()
	if err != nil {
		return nil, nil, err
	}
	for _, f := range list {
		switch {
		case !f.drops() && f.hasDropRule():
			notes = append(notes, fmt.Sprintf(
				"chain %s has rules that drop packets; if they drop those of %s, let them through there", f, bridge))
		case !f.drops() || len(f.of(bridge)) > 0:
		default:
			for _, r := range admitRules(bridge) {
				c.nft.InsertRule(&nftables.Rule{
					Table: f.chain.Table, Chain: f.chain, Exprs: r.exprs(), UserData: r.userData(),
				})
			}
			changed = append(changed, f.String())
		}
	}
	if err := c.nft.Flush(); err != nil {
		return nil, nil, fmt.Errorf("firewall: let %s through %q: %w", bridge, changed, err)
	}
	return changed, notes, nil
}

// Revoke takes out what Admit put in.
func (c *Conn) Revoke(bridge string) error {
	// A list that is read while others change their rules may lack some.
	for range 3 {
		list, err := c.foreignForward()
		if err != nil {
			return err
		}
		found := 0
		for _, f := range list {
			for _, r := range f.of(bridge) {
				if err := c.nft.DelRule(r); err != nil {
					return fmt.Errorf("firewall: chain %s: %w", f, err)
				}
				found++
			}
		}
		if found == 0 {
			return nil
		}
		if err := c.nft.Flush(); err != nil {
			return fmt.Errorf("firewall: revoke the rules for %s: %w", bridge, err)
		}
	}
	return nil
}

// foreignForward lists the base chains of others that see forwarded packets.
func (c *Conn) foreignForward() ([]foreign, error) {
	var list []foreign
	for _, family := range []nftables.TableFamily{
		nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6,
	} {
		chains, err := c.nft.ListChainsOfTableFamily(family)
		if err != nil {
			return nil, fmt.Errorf("firewall: list chains of family %s: %w", familyNames[family], err)
		}
		for _, ch := range chains {
			if ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || ch.Type != nftables.ChainTypeFilter ||
				family == nftables.TableFamilyINet && strings.HasPrefix(ch.Table.Name, TablePrefix) {
				continue
			}
			ch.Table.Family = family
			rules, err := c.nft.GetRules(ch.Table, ch)
			if err != nil {
				return nil, fmt.Errorf("firewall: list rules of %s: %w", foreign{chain: ch}, err)
			}
			list = append(list, foreign{ch, rules})
		}
	}
	return list, nil
}

// of finds the rules that Admit put in for a bridge.
func (f foreign) of(bridge string) []*nftables.Rule {
	var ours []*nftables.Rule
	for _, r := range f.rules {
		if comment(r.UserData) == admitComment(bridge) {
			ours = append(ours, r)
		}
	}
	return ours
}

func (f foreign) hasDropRule() bool {
	return slices.ContainsFunc(f.rules, func(r *nftables.Rule) bool {
		return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
			switch e := e.(type) {
			case *expr.Reject:
				return true
			case *expr.Verdict:
				return e.Kind == expr.VerdictDrop
			}
			return false
		})
	})
}

// comment reads the comment from a rule's user data: a type, a length, that many bytes, and so on. They are of
// whoever made the rule, and may hold anything.
func comment(data []byte) string {
	for len(data) >= 2 {
		kind, length := userdata.Type(data[0]), int(data[1])
		if data = data[2:]; length > len(data) {
			break
		}
		if kind == userdata.TypeComment && length > 0 && data[length-1] == 0 {
			return string(data[:length-1])
		}
		data = data[length:]
	}
	return ""
}
