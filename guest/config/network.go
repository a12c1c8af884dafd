package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
)

// NetworkPath is where the guest's init finds its Network. It is a file of its own, as addresses are known only when
// the machine is about to start, and by whom it is plugged in.
const NetworkPath = "/etc/tandem/network.json"

// Network is what init is told of the machine's network cards.
type Network struct {
	Links []Link `json:"links"`
}

// Link is a network card.
type Link struct {
	// MAC tells which one.
	MAC string `json:"mac"`
	// MTU is set if it is not 0.
	MTU int `json:"mtu,omitempty"`
	// Addresses are the card's, with the length of their subnet's prefix.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// Gateways are the next hops of default routes, at most one a family.
	Gateways []netip.Addr `json:"gateways,omitempty"`
}

// maxMTU is the longest packet of IPv4.
const maxMTU = 65535

// Validate checks every value.
func (n *Network) Validate() error {
	for i, l := range n.Links {
		at := fmt.Sprintf("links[%d]", i)
		if mac, err := net.ParseMAC(l.MAC); err != nil || len(mac) != 6 {
			return invalid(at+".mac", l.MAC, "is no Ethernet address")
		}
		if l.MTU < 0 || l.MTU > maxMTU {
			return invalid(at+".mtu", l.MTU, "is not within 0 and %d", maxMTU)
		}
		for j, a := range l.Addresses {
			if !a.IsValid() {
				return invalid(fmt.Sprintf("%s.addresses[%d]", at, j), a, "is no address with a prefix length")
			}
		}
		four := 0
		for j, g := range l.Gateways {
			if !g.IsValid() {
				return invalid(fmt.Sprintf("%s.gateways[%d]", at, j), g, "is no address")
			}
			if g.Is4() {
				four++
			}
		}
		if four > 1 || len(l.Gateways)-four > 1 {
			return invalid(at+".gateways", l.Gateways, "has two of one family")
		}
	}
	return nil
}

// ReadNetwork reads and checks the Network in a file. Without the file there is nothing to set up.
func ReadNetwork(path string) (*Network, error) {
	n, err := readFile(path, ParseNetwork)
	if errors.Is(err, fs.ErrNotExist) {
		return new(Network), nil
	}
	return n, err
}

// ParseNetwork reads and checks a document.
func ParseNetwork(text []byte) (*Network, error) {
	n := new(Network)
	if err := decode(text, n); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return n, nil
}

// Encode checks n and writes it as a document that ParseNetwork reads back.
func (n *Network) Encode() ([]byte, error) {
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("config: encode network: %w", err)
	}
	return json.Marshal(n)
}
