package main

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	hostLink, hostIP = "box0", "10.0.11.1"
	boxLink, boxIP   = "eth0", "10.0.11.2"
	prefix           = "/30"
)

// plugIn lays a cable. It leads to a namespace of our own that stands for the
// host, so that the machine's network is left alone; both end with us.
func plugIn(pid int) ([]func() error, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = hostLink
	// The other end begins where it belongs.
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: boxLink, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("add veth %s: %w", hostLink, err)
	}
	return nil, configure(hostLink, hostIP)
}

func configureLink(string) error { return configure(boxLink, boxIP) }

func configure(name, ip string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(ip + prefix)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add address %s to %s: %w", address, name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
