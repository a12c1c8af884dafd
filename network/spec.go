package network

import (
	"errors"
	"net"
	"net/netip"
	"os"

	"tandem/network/port"
)

const (
	// DefaultBridge is the bridge of boxes that ask for no other.
	DefaultBridge = "tandem0"
	// DefaultState is the folder of leases.
	DefaultState = "/run/tandem/network"
	// DefaultInterface is the link's name in a container.
	DefaultInterface = "eth0"
)

// Spec is what is wanted of the network for one box, a container or a VM.
type Spec struct {
	// ID names the box: letters, digits, '_', '.', '-', at most 128 of them. All that is made bears it.
	ID   string
	Mode Mode
	// Called, if not nil, is what users call the box of an ID: who is told that a port is taken is told by whom.
	Called func(id string) string `json:"-"`
	// State is the folder in which leases are kept, DefaultState if empty. Boxes on one bridge have to share it.
	State string
	// Host is the path of the network namespace that the bridge is in. Empty: the caller's.
	Host string

	// NetNS is the path of the container's network namespace: /proc/PID/ns/net, or /proc/self/fd/N for a descriptor.
	// It need not be there before the steps are done.
	NetNS string
	// OpenNetNS, if not nil, opens the namespace when its step comes; NetNS then is for the eye alone. It serves a
	// caller whose process is started by an earlier step.
	OpenNetNS func() (*os.File, error) `json:"-"`
	// Interface is the link's name in the container, DefaultInterface if empty.
	Interface string
	// Tap, if not nil, asks for a tap instead of a veth pair; there is no NetNS then.
	Tap *Tap

	// IPv4 and IPv6 are the bridge's subnets, for the first box on it. Zero: some that clash with none of the host's
	// routes. A bridge that is there keeps what it has, and a Spec that asks for something else is refused.
	IPv4, IPv6 netip.Prefix
	// NoIPv6 leaves IPv6 out. It is also left out where the kernel has none.
	NoIPv6 bool
	// Address asks for one address, of either family. Zero: the next that is free. The other family's has the same
	// host number.
	Address netip.Addr
	// MAC of the box's end. Nil: made from the address.
	MAC net.HardwareAddr
	// MTU of the link. 0: that of the host's uplink.
	MTU int

	Ports []port.Mapping
}

// Attachment is what there is once the steps are done. It is saved as JSON, for another process to hand to [Detach].
type Attachment struct {
	ID    string `json:"id"`
	Mode  Mode   `json:"mode"`
	State string `json:"state,omitempty"`
	Host  string `json:"host,omitempty"`

	Bridge    string         `json:"bridge,omitempty"`
	Link      string         `json:"link,omitempty"`      // the host's end: a veth or a tap
	Interface string         `json:"interface,omitempty"` // the container's end
	MAC       string         `json:"mac,omitempty"`
	MTU       int            `json:"mtu,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // IPv4 first
	Gateways  []netip.Addr   `json:"gateways,omitempty"`  // in the order of Addresses
	Ports     []port.Mapping `json:"ports,omitempty"`     // every HostPort known

	// Changed are settings of the host that were switched for the network to work, and stay so.
	Changed []Change `json:"changed,omitempty"`
	// Notes say, a line each, what could not be had, and what the user can do.
	Notes []string `json:"notes,omitempty"`

	// Sockets hold the published ports against other programs for as long as they are open, and take what the host's
	// own programs send there. The caller closes them, or hands them to the process that stays with the box, for
	// [Attachment.Relay].
	Sockets []*os.File `json:"-"`
}

// Change is a setting of the host that was switched.
type Change struct {
	Name string `json:"name"` // net.ipv4.ip_forward
	Old  string `json:"old"`
	New  string `json:"new"`
	Why  string `json:"why"`

	path string // below /proc/sys
}

// What errors wrap.
var (
	// ErrAttached is the error for an ID that has a lease, and lives.
	ErrAttached = errors.New("already attached")
	// ErrForeign is the error for something of the wanted name that tandem did not make.
	ErrForeign = errors.New("is there and was not made by tandem")
)
