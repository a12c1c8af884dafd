package guestinit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

// linkLimit is how long a network card may take to appear after its driver was loaded.
const linkLimit = 10 * time.Second

// configureNetwork gives the machine's network cards their addresses.
func configureNetwork(path string) error {
	n, err := config.ReadNetwork(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range n.Links {
		if err := configureLink(l); err != nil {
			errs = append(errs, fmt.Errorf("network card %s: %w", l.MAC, err))
		}
	}
	return errors.Join(errs...)
}

func configureLink(l config.Link) error {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil {
		return err
	}
	link, err := waitForLink(mac)
	if err != nil {
		return err
	}
	if l.MTU != 0 {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("set MTU %d: %w", l.MTU, err)
		}
	}
	for _, a := range l.Addresses {
		// Nobody else has it: whoever leased it has seen to that. To ask around (duplicate address detection) would take
		// a second in which it cannot be used.
		address := &netlink.Addr{IPNet: &net.IPNet{
			IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
		}}
		if a.Addr().Is6() {
			address.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, address); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address %v: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for _, g := range l.Gateways {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: g.AsSlice()}
		if err := netlink.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add default route by %v: %w", g, err)
		}
	}
	return nil
}

// waitForLink finds a network card, and waits for one that is on its way.
func waitForLink(mac net.HardwareAddr) (netlink.Link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), linkLimit)
	defer cancel()
	// The subscription comes first: what appears behind it is told of, what was there before is found.
	updates := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return nil, err
	}
	for {
		links, err := netlink.LinkList()
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			if bytes.Equal(link.Attrs().HardwareAddr, mac) {
				return link, nil
			}
		}
		select {
		case <-updates:
		case <-ctx.Done():
			return nil, fmt.Errorf("did not appear within %v", linkLimit)
		}
	}
}
