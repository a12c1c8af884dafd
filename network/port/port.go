package port

import (
	"errors"
	"fmt"
	"net/netip"
)

// Protocol is a transport protocol whose ports can be published.
type Protocol string

// The protocols. SCTP would be a third.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Mapping is one published range: Count ports of the host, from HostPort on, lead to as many of the box, from BoxPort
// on, in order.
type Mapping struct {
	// HostIP is the host's address that the ports are published on. The zero Addr is all of them, IPv4 and IPv6;
	// 0.0.0.0 is all of IPv4, and :: all of IPv6.
	HostIP netip.Addr `json:"hostIP,omitzero"`
	// HostPort is the first port on the host. 0 asks for any free one.
	HostPort uint16 `json:"hostPort"`
	// Choices, if not 0, is the number of ports, from HostPort on, of which any may be taken: -p 8000-8010:80. Count
	// is 1 then. A mapping that is in force has none.
	Choices uint16 `json:"choices,omitempty"`
	// BoxPort is the first port in the box.
	BoxPort uint16 `json:"boxPort"`
	// Count is the number of ports, at least 1.
	Count    uint16   `json:"count"`
	Protocol Protocol `json:"protocol"`
}

// maxShifted bounds the ranges whose ports have other numbers in the box: each port of them takes a rule.
const maxShifted = 1024

// ErrTaken is wrapped by the error for a port of the host that somebody has.
var ErrTaken = errors.New("port is taken")

// errForm is what bad input gets to read.
var errForm = errors.New("want [HOST-IP:][HOST-PORT[-LAST]:]PORT[-LAST][/tcp|/udp]")

// Check says what is wrong with a mapping, nil if nothing is.
func (m Mapping) Check() error {
	switch {
	case m.Protocol != TCP && m.Protocol != UDP:
		return fmt.Errorf("protocol %q: want tcp or udp", m.Protocol)
	case m.BoxPort == 0:
		return errors.New("port 0 of the box")
	case m.Count == 0:
		return errors.New("no port at all")
	case int(m.BoxPort)+int(m.Count)-1 > maxPort:
		return fmt.Errorf("%d ports from %d on: the last is above %d", m.Count, m.BoxPort, maxPort)
	case m.HostPort == 0 && m.Count > 1:
		return errors.New("any free port of the host, for a range")
	case m.HostPort == 0 && m.Choices != 0:
		return errors.New("a range of the host that starts at port 0")
	case m.Choices != 0 && m.Count > 1:
		return errors.New("a choice of host ports for a range")
	case int(m.HostPort)+int(max(m.Count, m.Choices))-1 > maxPort:
		return fmt.Errorf("%d ports from %d on: the last is above %d", max(m.Count, m.Choices), m.HostPort, maxPort)
	case m.Count > maxShifted && m.HostPort != m.BoxPort:
		return fmt.Errorf("%d ports that change their number: want at most %d, or the same number", m.Count, maxShifted)
	case m.HostIP.Zone() != "":
		return fmt.Errorf("host address %s: has a zone", m.HostIP)
	case m.HostIP.Is4In6():
		return fmt.Errorf("host address %s: write it as IPv4", m.HostIP)
	case m.HostIP.IsMulticast():
		return fmt.Errorf("host address %s: is multicast", m.HostIP)
	}
	return nil
}

// Settled tells whether every port on the host is known.
func (m Mapping) Settled() bool { return m.HostPort != 0 && m.Choices == 0 }

// Last is the last port on the host.
func (m Mapping) Last() uint16 { return m.HostPort + m.Count - 1 }

// Listens lists the host's addresses that the mapping means: its own, or 0.0.0.0 and ::.
func (m Mapping) Listens() []netip.Addr {
	if m.HostIP.IsValid() {
		return []netip.Addr{m.HostIP}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// Overlaps tells whether a port of the host would belong to both mappings. Both have to be settled.
func (m Mapping) Overlaps(o Mapping) bool {
	if m.Protocol != o.Protocol || m.Last() < o.HostPort || o.Last() < m.HostPort {
		return false
	}
	for _, a := range m.Listens() {
		for _, b := range o.Listens() {
			if a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified()) {
				return true
			}
		}
	}
	return false
}
