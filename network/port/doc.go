// Package port knows published ports: how they are written, who has them, and how the host's own programs reach them.
//
// A published port is an address and port of the host that lead to a port of a box. Two things make it so:
//
//	from elsewhere:  client ── uplink ── DNAT in the kernel ─────────────── bridge ── box
//	from the host:   client ── 127.0.0.1:8080 ── socket ── [Relay] ── new connection ── box
//
// The kernel's NAT (package firewall) does the first. It could be made to do the second for 127.0.0.1: a packet of the
// host's own can be turned around to the bridge, given that net.ipv4.conf.BRIDGE.route_localnet lets addresses of
// 127.0.0.0/8 leave by a link. tandem does not, for three reasons. That switch also lets what comes *from* the bridge
// reach servers that listen on 127.0.0.1 because they trust it to be private, and only a rule in the right place keeps
// that shut (CVE-2020-8558). There is none for ::1: its packets are dropped on receipt from any link but lo, and where
// br_netfilter is loaded that check comes after the reply has been given back its address. And the port of the host
// would look free: a program that binds it is not told, and never hears of a connection.
//
// So the port is taken by a real socket ([Hold]), as any server would, and whatever reaches that socket is carried to
// the box by a [Relay], in the process that stays with the box. It serves IPv4 and IPv6 alike, IPv6 for a box that has
// none, and whoever wants the port gets the error he expects. The price is that the box sees the bridge's address as
// the client's, for connections that come from the host itself.
package port
