package port

import (
	"errors"
	"net/netip"
)

// Protocol is a transport protocol whose ports can be published.
type Protocol string

const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Mapping is one published range: Count ports of the host, from HostPort on, lead to as many of the box, from BoxPort
// on, in order.
type Mapping struct {
	// HostIP is the host's address that the ports are published on. The zero Addr is all of them, IPv4 and IPv6.
	HostIP netip.Addr `json:"hostIP,omitzero"`
	// HostPort is the first port on the host. 0 asks for any free one.
	HostPort uint16 `json:"hostPort"`
	// HostPorts, if not 0, is the size of a range to pick HostPort from, for a single BoxPort: -p 8000-8010:80.
	HostPorts uint16 `json:"hostPorts,omitempty"`
	// BoxPort is the first port in the box.
	BoxPort uint16 `json:"boxPort"`
	// Count is the number of ports, at least 1.
	Count    uint16   `json:"count"`
	Protocol Protocol `json:"protocol"`
}

// ErrTaken is wrapped by the error for a port of the host that somebody has.
var ErrTaken = errors.New("port is taken")

// Parse reads the value of -p as docker spells it:
//
//	80                       any free port of the host to the box's port 80
//	8080:80                  on all addresses, IPv4 and IPv6
//	127.0.0.1:8080:80/udp    one address, UDP
//	[::1]:8080:80            IPv6
//	127.0.0.1::80            any free port of one address
//	8000-8009:9000-9009      ranges of one size
//	8000-8010:80             the first of the range that is free
func Parse(s string) (Mapping, error) { return Mapping{}, errors.ErrUnsupported }

// String is what [Parse] reads.
func (m Mapping) String() string { return "" }
