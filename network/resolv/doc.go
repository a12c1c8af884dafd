// Package resolv makes the three files by which a box knows names: /etc/resolv.conf, /etc/hosts, /etc/hostname.
//
// A container has an image's file system and the host's network, so these files can come neither from the image, which
// knows nothing of the host, nor unchanged from the host, which is elsewhere in the network:
//
//	host's resolv.conf          box's resolv.conf
//	nameserver 127.0.0.53       -                          the host's lo is not the box's
//	nameserver fe80::1%eth0     -                          a link of the host
//	nameserver 2001:db8::53     if the box has IPv6
//	nameserver 192.0.2.53       nameserver 192.0.2.53      through the bridge, as any packet
//
// Where nothing is left, as on a host that asks a resolver of its own, the servers behind systemd-resolved are taken if
// it is that, and else public ones, which is told in a note: somebody else then learns what is asked for.
//
// The files are made as bytes. Who puts them in place, and keeps the box from following a symbolic link of the image
// when it does, is the engine.
package resolv
