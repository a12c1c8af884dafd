package resolv

import (
	"errors"
	"net/netip"
)

// Spec says what the files shall hold.
type Spec struct {
	// HostResolvConf is the host's /etc/resolv.conf; [ReadHost] reads it.
	HostResolvConf []byte
	// KeepLoopback keeps name servers on 127.0.0.0/8 and ::1: right where the box shares the host's namespace.
	KeepLoopback bool
	// IPv6 tells whether the box has an IPv6 address, and so may keep name servers that have one.
	IPv6 bool

	Servers []netip.Addr // --dns: instead of the host's
	Search  []string     // --dns-search: instead of the host's; "." is none
	Options []string     // --dns-option: instead of the host's

	Hostname  string
	Addresses []netip.Addr // the box's own, which hosts maps Hostname to
	Gateway   netip.Addr   // what host-gateway stands for
	Extra     []string     // --add-host: name:address, or name:host-gateway
}

// Files are contents, for the engine to mount on /etc/resolv.conf, /etc/hosts and /etc/hostname.
type Files struct {
	ResolvConf, Hosts, Hostname []byte
	// Notes say, a line each, what differs from what the host's files and the flags ask for, and why.
	Notes []string
}

// ReadHost reads the host's resolv.conf, or, where that names a local stub of systemd-resolved alone, the file in which
// that keeps the servers behind it.
func ReadHost() ([]byte, error) { return nil, errors.ErrUnsupported }

// Make makes the files.
func Make(spec Spec) (Files, error) { return Files{}, errors.ErrUnsupported }
