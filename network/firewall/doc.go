// Package firewall makes the netfilter rules of a bridge: the way out, the published ports, and what is let through.
//
// The kernel shows each packet to lists of rules at fixed places on its way, the hooks. The first packet of a
// connection decides for all: conntrack remembers what the rules made of it, does the same to the others, and the
// reverse to the replies.
//
//	 from a link                                                      to a link
//	     │                                                                ▲
//	prerouting ── route ──────────────── forward ───────────── route ── postrouting
//	 DNAT: a       │ for the host         may it pass?           │       SNAT: a box
//	 published     ▼                                             │       appears as
//	 port to     input ── the host's own programs ── output ─────┘       the host
//	 its box                                          DNAT, too
//
// The rules of a bridge are one table of the family inet (IPv4 and IPv6), with the bridge's name. [Ruleset] says what
// it follows from, and prints it as nft(8) does. There are no handles to keep, and no rules to search for: the table
// is a function of the leases, and [Conn.Apply] puts all of it in place of what is there, in one transaction. A rule
// for a published port bears the box's ID as its comment, for people.
//
// What the rules do:
//
//   - A box reaches the outside with the host's address (masquerade), also by IPv6: its own mean nothing elsewhere.
//   - A box sends out nothing but packets from the bridge's subnet.
//   - From outside a box is reached by its published ports and in reply, and not by its own address, which a neighbour
//     of the host could otherwise route to.
//   - A published port also works from the host, from other boxes, and from the box itself, whose packets have to come
//     back through the host, and so are given the bridge's address.
//   - Boxes on one bridge reach each other. Their frames see these rules only where br_netfilter is loaded.
//
// Other tables of the host have their say, too. See [Conn.Admit] for chains that drop what they don't know. What
// can't be helped is told in notes: rules that drop in the middle of somebody's chain, and the tables of
// iptables-legacy, which nftables can't see.
package firewall
