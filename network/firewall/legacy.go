package firewall

import (
	"os"
	"slices"
	"strings"

	"tandem/network/netns"
)

// LegacyNotes tell what iptables-legacy may do to the bridge's packets. Its tables are another mechanism at the same
// hooks, which nftables neither sees nor overrules. The kernel makes one when a program first asks for it, so that one
// which is there has been asked for.
func LegacyNotes(ns *netns.NS, bridge string) []string {
	var notes []string
	_ = ns.Do(func() error { // where it can't be read there is none
		for _, family := range []struct{ file, command string }{
			{"ip_tables_names", "iptables"}, {"ip6_tables_names", "ip6tables"},
		} {
			text, err := os.ReadFile("/proc/thread-self/net/" + family.file)
			if err == nil && slices.Contains(strings.Fields(string(text)), "filter") {
				notes = append(notes, family.command+"-legacy has a filter table; if its chain FORWARD drops the packets of "+
					bridge+", let them through there")
			}
		}
		return nil
	})
	return notes
}
