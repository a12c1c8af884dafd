// Package network connects boxes: containers and VMs plug into it alike.
//
// A container starts in a network namespace of its own, which is a network stack as a freshly booted machine has it:
// one link, lo, which is down, no address, no route, no rule. A VM starts with a network card that is plugged into
// nothing. Five things of the kernel make either of them part of a network.
//
// A cable. A veth is a pair of links: what is sent by one is received by the other. The kernel is asked for both ends
// at once, one on the host, one in the container's namespace and named eth0 there. A VM's cable is a tap: a link whose
// other end is a file, which the VM's monitor reads and writes.
//
// A switch. A bridge is a link that others are plugged into. It learns which MAC is behind which of its ports, and is
// itself the host's card in that network: its address is the boxes' gateway.
//
// An address. Each box leases a number, which is the host part of its IPv4 and its IPv6 address, and the end of its MAC.
// The subnets are private ones that no route of the host has. See package lease.
//
// A way out. Nobody outside knows the way to a private subnet. So the host forwards packets, and as they leave its
// uplink gives them its own address (masquerade); conntrack remembers whose they were, and gives the replies back.
//
// A way in. A published port is an address and port of the host whose packets get the box's address instead, before the
// host looks where they go (DNAT). See packages firewall and port.
//
// This is the way of a request from a container to the outside, with the hops by which package flow names it, and of
// the reply. A VM's differs in its first line alone: there is a tap, and the monitor or vhost writes to it.
//
//	container             │ host
//	                      │
//	application           │
//	    │ send            │
//	TCP, route: default   │
//	    │                 │
//	eth0 ═════ cable ═════╪══ vethN ── plugged into ── tandem0 (10.77.0.1)
//	10.77.0.2             │   netif_rx, then                │ netif_receive_skb, with dev the bridge
//	net_dev_queue,        │   netif_receive_skb             │
//	net_dev_start_xmit    │                             prerouting
//	                      │                                 │ route: by the uplink
//	                      │                              forward     may it pass?
//	                      │                                 │
//	                      │                            postrouting   10.77.0.2 becomes 192.0.2.1
//	                      │                                 │
//	                      │                               eth0 (192.0.2.1), the uplink
//	                      │                                 │ net_dev_queue, net_dev_start_xmit
//	                      ▼                                 ▼
//	reply:  eth0 (uplink) ─ conntrack: for 10.77.0.2 ─ route: by tandem0 ─ forward: a reply ─ tandem0 ─ vethN ═ eth0
//
// # Using it
//
// A [Spec] says what is wanted. [Prepare] makes it a list of steps, which can be printed without privilege, put into the
// plan of a box, run and undone; [Attach] does all that at once. What there is then is an [Attachment], which is
// saved, for [Detach] by any process.
//
//	Spec ── Prepare ──> Setup ── steps run ──> Attachment ── JSON ── Detach
//	                      │                        └─ Sockets ── Relay, in the process that stays with the box
//	                      └─ printed by explain
//
// No process stays: what the steps make is the kernel's, and who has what is in the leases. So a process that is killed
// in the middle leaves something, and nothing notices. It is found later, by whoever needs the address, and by
// [Store.Collect]: each lease names the process that works on it, each link has its box in its alias, and what has no
// lease, or a lease whose link went with its namespace, is nobody's.
//
// # What to know
//
//   - The host becomes a router: net.ipv4.ip_forward is switched on, and IPv6 forwarding for the links that need it.
//     That is told in [Attachment.Changed], and stays when the boxes are gone, since others may rely on it by then.
//   - A chain of somebody else's that drops forwarded packets gets two rules that let the bridge through. Rules that drop
//     in the middle of such a chain, and iptables-legacy, can't be helped; a note says so.
//   - Connections from the host to 127.0.0.1 or ::1 reach a published port for as long as somebody runs the relay.
//   - Boxes on one bridge trust each other as machines on one switch do: a box that may send raw packets can answer for
//     another's address. It can't make itself a router by IPv6 advertisements, for others or for the host, and
//     can't send to the outside but with an address of the subnet. Boxes that must not meet belong on different bridges.
//   - Links, addresses and rules on the host need its CAP_NET_ADMIN. Without it there are the modes none, host, and the
//     namespaces of others.
package network
