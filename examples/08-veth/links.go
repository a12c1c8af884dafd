package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
)

// What either side does with the links that it has.

func showLinks(in *inside) error {
	if err := showOurLinks("outside"); err != nil {
		return err
	}
	return in.ask(askLinks)
}

// showOurLinks leaves out what modules such as sit put into each namespace.
func showOurLinks(side string) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	var names []string
	for _, l := range links {
		if l.Type() == "veth" || l.Attrs().Flags&net.FlagLoopback != 0 {
			names = append(names, l.Attrs().Name)
		}
	}
	fmt.Printf("  %s: %s\n", side, strings.Join(names, ", "))
	return nil
}

func configure(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", address, name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
